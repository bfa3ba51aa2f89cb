"""Marks are added, never changed; traces know their days; a run that lost a day is frozen; runs are found by their status and by when they changed."""

from alembic import op
import sqlalchemy as sa

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation='C'), 'postgresql')
OLD_KEY = ['project', 'run_key', 'trace_id']
NEW_KEY = [*OLD_KEY, 'seq']


def upgrade() -> None:
    _key_marks_by(NEW_KEY, 'seq')
    _give_traces_their_days()
    op.add_column('runs', sa.Column('frozen', sa.BigInteger(), server_default=sa.text('0'), nullable=False))
    op.add_column('runs', sa.Column('seq', sa.BigInteger(), server_default=sa.text('0'), nullable=False))
    op.create_index('runs_changed', 'runs', ['project', 'seq'], unique=False)
    op.create_index('runs_of_status', 'runs', ['project', 'status', 'sort_ns', 'run_key'], unique=False)
    op.create_index('runs_counted', 'runs', ['project', 'flow_key', 'kind', 'hidden', 'status'], unique=False)


def downgrade() -> None:
    op.drop_index('runs_counted', table_name='runs')
    op.drop_index('runs_of_status', table_name='runs')
    op.drop_index('runs_changed', table_name='runs')
    op.drop_column('runs', 'seq')
    op.drop_column('runs', 'frozen')
    _make_traces()
    op.execute('INSERT INTO run_traces SELECT project, run_key, trace_id, source, run_id, generation, min(seq) FROM run_traces_before'
               ' GROUP BY project, run_key, trace_id, source, run_id, generation')
    _index_traces()
    _key_marks_by(OLD_KEY, 'max(seq)')


def _key_marks_by(key: list[str], seq: str) -> None:
    """Make run_dirty anew with this key and the marks it had: of those with one key the newest."""
    op.execute('CREATE TABLE run_dirty_before AS SELECT * FROM run_dirty')
    op.drop_table('run_dirty')
    op.create_table('run_dirty',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.PrimaryKeyConstraint(*key)
    )
    op.execute(f"INSERT INTO run_dirty SELECT project, run_key, trace_id, {seq} FROM run_dirty_before GROUP BY {', '.join(key)}")
    op.drop_table('run_dirty_before')


def _give_traces_their_days() -> None:
    """Add to each row of run_traces the days its trace has facts of."""
    _make_traces(sa.Column('day', sa.BigInteger(), autoincrement=False, primary_key=True, nullable=False))
    op.execute(
        'INSERT INTO run_traces'
        ' SELECT DISTINCT before.project, run_key, before.trace_id, source, facts.day, run_id, generation, seq FROM run_traces_before AS before'
        ' JOIN (SELECT project, trace_id, day FROM spans UNION SELECT project, trace_id, day FROM span_moments'
        ' UNION SELECT project, trace_id, day FROM logs) AS facts ON facts.project = before.project AND facts.trace_id = before.trace_id'
    )
    _index_traces()


def _make_traces(*days: 'sa.Column[int]') -> None:
    op.execute('CREATE TABLE run_traces_before AS SELECT * FROM run_traces')
    op.drop_table('run_traces')
    op.create_table('run_traces',
    sa.Column('project', sa.BigInteger(), primary_key=True, nullable=False),
    sa.Column('run_key', sa.LargeBinary(), primary_key=True, nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), primary_key=True, nullable=False),
    sa.Column('source', TEXT, primary_key=True, nullable=False),
    *days,
    sa.Column('run_id', TEXT, nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    )


def _index_traces() -> None:
    op.drop_table('run_traces_before')
    op.create_index('run_traces_by_trace', 'run_traces', ['project', 'trace_id'], unique=False)
    op.create_index('run_traces_by_id', 'run_traces', ['project', 'run_id'], unique=False)
