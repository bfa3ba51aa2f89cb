"""The schema Flowspan began with, and the rows every store begins with."""

from alembic import op
import sqlalchemy as sa

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

DEFAULT_PROJECT_ID = '37d81c47-83ff-56f9-8a64-01017b6bee58'

# Postgres came with revision 0002: this one makes there what it would have made.
TEXT = sa.Text().with_variant(sa.Text(collation='C'), 'postgresql')
FACTS = ('logs', 'span_moments', 'spans')


def upgrade() -> None:
    op.create_table('clock',
    sa.Column('id', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.Column('pruned_seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('flows',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('flow_key', TEXT, nullable=False),
    sa.Column('id', TEXT, nullable=False),
    sa.Column('name', TEXT, nullable=False),
    sa.Column('description', TEXT, nullable=False),
    sa.Column('tags', TEXT, nullable=False),
    sa.Column('described_ns', sa.BigInteger(), nullable=False),
    sa.Column('created_ns', sa.BigInteger(), nullable=False),
    sa.Column('updated_ns', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'flow_key')
    )
    op.create_table('logs',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('time_ns', sa.BigInteger(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('twin', sa.BigInteger(), nullable=False),
    sa.Column('day', sa.BigInteger(), nullable=False),
    sa.Column('stamped', sa.BigInteger(), nullable=False),
    sa.Column('own_time_ns', sa.BigInteger(), nullable=False),
    sa.Column('observed_ns', sa.BigInteger(), nullable=False),
    sa.Column('received_ns', sa.BigInteger(), nullable=False),
    sa.Column('span_id', sa.LargeBinary(), nullable=False),
    sa.Column('severity_number', sa.BigInteger(), nullable=False),
    sa.Column('severity_text', TEXT, nullable=False),
    sa.Column('body', TEXT, nullable=False),
    sa.Column('event_name', TEXT, nullable=False),
    sa.Column('flags', sa.BigInteger(), nullable=False),
    sa.Column('attributes', TEXT, nullable=False),
    sa.Column('dropped_attributes', sa.BigInteger(), nullable=False),
    sa.Column('resource_id', sa.LargeBinary(), nullable=False),
    sa.Column('scope_id', sa.LargeBinary(), nullable=False),
    sa.Column('source', TEXT, nullable=False),
    sa.Column('run_id', TEXT, nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('node', TEXT, nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'trace_id', 'time_ns', 'digest', 'twin', 'day'),
    postgresql_partition_by='RANGE (day)'
    )
    with op.batch_alter_table('logs', schema=None) as batch_op:
        batch_op.create_index('logs_new', ['seq'], unique=False, postgresql_using='brin')
        batch_op.create_index('logs_once', ['project', 'trace_id', 'digest', 'day'], unique=True, sqlite_where=sa.text('stamped = 1'), postgresql_where=sa.text('stamped = 1'))

    op.create_table('processes',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('process', TEXT, nullable=False),
    sa.Column('heard_ns', sa.BigInteger(), nullable=False),
    sa.Column('interval_ms', sa.BigInteger(), nullable=False),
    sa.Column('exited_ns', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'process')
    )
    op.create_table('projects',
    sa.Column('project', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('id', TEXT, nullable=False),
    sa.Column('key', TEXT, nullable=False),
    sa.Column('name', TEXT, nullable=False),
    sa.PrimaryKeyConstraint('project'),
    sa.UniqueConstraint('id'),
    sa.UniqueConstraint('key')
    )
    op.create_table('resources',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('resource_id', sa.LargeBinary(), nullable=False),
    sa.Column('attributes', TEXT, nullable=False),
    sa.Column('dropped_attributes', sa.BigInteger(), nullable=False),
    sa.Column('schema_url', TEXT, nullable=False),
    sa.Column('entity_refs', TEXT, nullable=False),
    sa.PrimaryKeyConstraint('project', 'resource_id')
    )
    op.create_table('run_changes',
    sa.Column('seq', sa.BigInteger(), autoincrement=False, nullable=False),
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('heard_ns', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('seq', 'project', 'run_key', 'trace_id')
    )
    with op.batch_alter_table('run_changes', schema=None) as batch_op:
        batch_op.create_index('run_changes_by_trace', ['project', 'trace_id', 'seq'], unique=False)

    op.create_table('run_dirty',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'run_key', 'trace_id')
    )
    op.create_table('run_traces',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('source', TEXT, nullable=False),
    sa.Column('run_id', TEXT, nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'run_key', 'trace_id', 'source')
    )
    with op.batch_alter_table('run_traces', schema=None) as batch_op:
        batch_op.create_index('run_traces_by_id', ['project', 'run_id'], unique=False)
        batch_op.create_index('run_traces_by_trace', ['project', 'trace_id'], unique=False)

    op.create_table('runs',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('source', TEXT, nullable=False),
    sa.Column('run_id', TEXT, nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('kind', TEXT, nullable=False),
    sa.Column('status', TEXT, nullable=False),
    sa.Column('flow_key', TEXT, nullable=False),
    sa.Column('flow_name', TEXT, nullable=False),
    sa.Column('started_ns', sa.BigInteger(), nullable=False),
    sa.Column('finished_ns', sa.BigInteger(), nullable=False),
    sa.Column('sort_ns', sa.BigInteger(), nullable=False),
    sa.Column('error', TEXT, nullable=False),
    sa.Column('tasks_declared', sa.BigInteger(), nullable=True),
    sa.Column('counts', TEXT, nullable=False),
    sa.Column('params', TEXT, nullable=False),
    sa.Column('metadata', TEXT, nullable=False),
    sa.Column('tags', TEXT, nullable=False),
    sa.Column('processes', TEXT, nullable=False),
    sa.Column('hidden', sa.BigInteger(), nullable=False),
    sa.Column('first_day', sa.BigInteger(), nullable=False),
    sa.Column('last_day', sa.BigInteger(), nullable=False),
    sa.Column('recheck_ns', sa.BigInteger(), nullable=False),
    sa.Column('heard_ns', sa.BigInteger(), nullable=False),
    sa.Column('version', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'run_key')
    )
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.create_index('runs_newest', ['project', 'kind', 'sort_ns', 'run_key'], unique=False)
        batch_op.create_index('runs_in_order', ['project', 'sort_ns', 'run_key'], unique=False)
        batch_op.create_index('runs_of_flow', ['project', 'flow_key', 'sort_ns', 'run_key'], unique=False)
        batch_op.create_index('runs_to_recheck', ['recheck_ns'], unique=False, sqlite_where=sa.text('recheck_ns > 0'), postgresql_where=sa.text('recheck_ns > 0'))

    op.create_table('scopes',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('scope_id', sa.LargeBinary(), nullable=False),
    sa.Column('name', TEXT, nullable=False),
    sa.Column('version', TEXT, nullable=False),
    sa.Column('attributes', TEXT, nullable=False),
    sa.Column('dropped_attributes', sa.BigInteger(), nullable=False),
    sa.Column('schema_url', TEXT, nullable=False),
    sa.PrimaryKeyConstraint('project', 'scope_id')
    )
    op.create_table('span_moments',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('span_id', sa.LargeBinary(), nullable=False),
    sa.Column('day', sa.BigInteger(), nullable=False),
    sa.Column('kind', TEXT, nullable=False),
    sa.Column('at', sa.BigInteger(), nullable=False),
    sa.Column('rank', sa.BigInteger(), nullable=False),
    sa.Column('time_ns', sa.BigInteger(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('received_ns', sa.BigInteger(), nullable=False),
    sa.Column('name', TEXT, nullable=False),
    sa.Column('parent_span_id', sa.LargeBinary(), nullable=False),
    sa.Column('start_ns', sa.BigInteger(), nullable=False),
    sa.Column('process', TEXT, nullable=False),
    sa.Column('attributes', TEXT, nullable=False),
    sa.Column('resource_id', sa.LargeBinary(), nullable=False),
    sa.Column('source', TEXT, nullable=False),
    sa.Column('run_id', TEXT, nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('flow_key', TEXT, nullable=False),
    sa.Column('flow_name', TEXT, nullable=False),
    sa.Column('task_key', TEXT, nullable=False),
    sa.Column('task_name', TEXT, nullable=False),
    sa.Column('node', TEXT, nullable=False),
    sa.Column('attempt', sa.BigInteger(), nullable=True),
    sa.Column('role', TEXT, nullable=False),
    sa.Column('dialect', TEXT, nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'trace_id', 'span_id', 'day', 'kind', 'at'),
    postgresql_partition_by='RANGE (day)'
    )
    op.create_table('spans',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('trace_id', sa.LargeBinary(), nullable=False),
    sa.Column('span_id', sa.LargeBinary(), nullable=False),
    sa.Column('day', sa.BigInteger(), nullable=False),
    sa.Column('rank', sa.BigInteger(), nullable=False),
    sa.Column('weight', sa.BigInteger(), nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('received_ns', sa.BigInteger(), nullable=False),
    sa.Column('parent_span_id', sa.LargeBinary(), nullable=False),
    sa.Column('trace_state', TEXT, nullable=False),
    sa.Column('flags', sa.BigInteger(), nullable=False),
    sa.Column('name', TEXT, nullable=False),
    sa.Column('kind', sa.BigInteger(), nullable=False),
    sa.Column('start_ns', sa.BigInteger(), nullable=False),
    sa.Column('end_ns', sa.BigInteger(), nullable=False),
    sa.Column('attributes', TEXT, nullable=False),
    sa.Column('dropped_attributes', sa.BigInteger(), nullable=False),
    sa.Column('events', TEXT, nullable=False),
    sa.Column('dropped_events', sa.BigInteger(), nullable=False),
    sa.Column('links', TEXT, nullable=False),
    sa.Column('dropped_links', sa.BigInteger(), nullable=False),
    sa.Column('status_code', sa.BigInteger(), nullable=False),
    sa.Column('status_message', TEXT, nullable=False),
    sa.Column('resource_id', sa.LargeBinary(), nullable=False),
    sa.Column('scope_id', sa.LargeBinary(), nullable=False),
    sa.Column('source', TEXT, nullable=False),
    sa.Column('run_id', TEXT, nullable=False),
    sa.Column('generation', sa.BigInteger(), nullable=False),
    sa.Column('run_key', sa.LargeBinary(), nullable=False),
    sa.Column('flow_key', TEXT, nullable=False),
    sa.Column('flow_name', TEXT, nullable=False),
    sa.Column('task_key', TEXT, nullable=False),
    sa.Column('task_name', TEXT, nullable=False),
    sa.Column('node', TEXT, nullable=False),
    sa.Column('attempt', sa.BigInteger(), nullable=True),
    sa.Column('role', TEXT, nullable=False),
    sa.Column('dialect', TEXT, nullable=False),
    sa.Column('result', TEXT, nullable=False),
    sa.Column('error', TEXT, nullable=False),
    sa.Column('seq', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'trace_id', 'span_id', 'day'),
    postgresql_partition_by='RANGE (day)'
    )
    op.create_table('tasks',
    sa.Column('project', sa.BigInteger(), nullable=False),
    sa.Column('flow_key', TEXT, nullable=False),
    sa.Column('task_key', TEXT, nullable=False),
    sa.Column('id', TEXT, nullable=False),
    sa.Column('name', TEXT, nullable=False),
    sa.Column('description', TEXT, nullable=False),
    sa.Column('tags', TEXT, nullable=False),
    sa.Column('run_in', TEXT, nullable=False),
    sa.Column('described_ns', sa.BigInteger(), nullable=False),
    sa.Column('created_ns', sa.BigInteger(), nullable=False),
    sa.Column('updated_ns', sa.BigInteger(), nullable=False),
    sa.PrimaryKeyConstraint('project', 'flow_key', 'task_key')
    )
    if op.get_bind().dialect.name == 'postgresql':
        for table in FACTS:
            op.execute(f"CREATE TABLE {table}_d0 PARTITION OF {table} FOR VALUES FROM (0) TO (1)")
    op.execute("INSERT INTO clock (id, seq, pruned_seq) VALUES (1, 0, 0)")
    op.execute("INSERT INTO projects (project, id, key, name) VALUES (1, '%s', 'default', 'Default')" % DEFAULT_PROJECT_ID)


def downgrade() -> None:
    op.drop_table('tasks')
    op.drop_table('spans')
    op.drop_table('span_moments')
    op.drop_table('scopes')
    with op.batch_alter_table('runs', schema=None) as batch_op:
        batch_op.drop_index('runs_to_recheck', sqlite_where=sa.text('recheck_ns > 0'), postgresql_where=sa.text('recheck_ns > 0'))
        batch_op.drop_index('runs_of_flow')
        batch_op.drop_index('runs_newest')
        batch_op.drop_index('runs_in_order')

    op.drop_table('runs')
    with op.batch_alter_table('run_traces', schema=None) as batch_op:
        batch_op.drop_index('run_traces_by_trace')
        batch_op.drop_index('run_traces_by_id')

    op.drop_table('run_traces')
    op.drop_table('run_dirty')
    with op.batch_alter_table('run_changes', schema=None) as batch_op:
        batch_op.drop_index('run_changes_by_trace')

    op.drop_table('run_changes')
    op.drop_table('resources')
    op.drop_table('projects')
    op.drop_table('processes')
    with op.batch_alter_table('logs', schema=None) as batch_op:
        batch_op.drop_index('logs_once', sqlite_where=sa.text('stamped = 1'), postgresql_where=sa.text('stamped = 1'))
        batch_op.drop_index('logs_new')

    op.drop_table('logs')
    op.drop_table('flows')
    op.drop_table('clock')
