"""The answer page: one answer token by token, alone or beside another one."""
