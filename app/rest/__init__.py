"""The REST API under /api/v1: the operations of the pages and the command line, for programs.

Routes are thin: they validate the input, call the same functions as pages and commands, and describe the
output. `application` assembles them, `caller` authenticates the caller, `errors` converts errors to JSON,
`once` makes repeated calls idempotent, `paging` splits lists into pages. Each resource has a file in
`routers` and one in `schemas`.
"""
