"""The REST API under /api/v1: what the pages and the command line do, for programs.

Routes are thin: they check what came in, call the functions that pages and commands call, and describe what
comes out. `application` puts them together, `caller` says who asks, `errors` turns errors into JSON, `once`
keeps repeated calls from doing a thing twice, `paging` cuts lists; a noun has a file in `routers` and one in
`schemas`.
"""
