"""MCP: operations of the REST API as tools for assistants, at /mcp and over stdio.

A tool is an operation of the REST API: `catalogue` says which ones, and takes their arguments and texts from
the API's schema. `calls` sends a call to the API inside the process, as the caller's user, so checks, rights
and error messages are the API's. `shortening` limits the size of results. `confirmations` keeps calls that
wait for a person's consent, and `consent` asks for it. `server` puts them together; `address` serves it over
HTTP, and `hypo mcp` over stdio.

Only `server` and `consent` import the MCP library, on the first request.
"""
