"""Where facts live. One folder a storage; what SQL storages share is in sql/, their schema's history in migrations/."""
