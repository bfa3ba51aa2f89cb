"""The cached row of a run says what moment of the store it shows, and of a large run what its page and the pages of its task runs need."""

from alembic import op
import sqlalchemy as sa

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation='C'), 'postgresql')
EMPTY = sa.text("''")


def upgrade() -> None:
    op.add_column('runs', sa.Column('cursor', TEXT, server_default=EMPTY, nullable=False))
    op.add_column('runs', sa.Column('outline', TEXT, server_default=EMPTY, nullable=False))


def downgrade() -> None:
    op.drop_column('runs', 'outline')
    op.drop_column('runs', 'cursor')
