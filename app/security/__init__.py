"""Access control and an allowlist of Gradio's routes: the middleware between a request and the pages.

A request passes, in this order: `proxies` (accepts forwarded headers only from configured proxies), `headers`
(sets the response headers), `hosts`, `origins`, `identity` (identifies the user), and, for Gradio,
`gradio_door` (allows only the needed routes and checks the owner of sessions and files). `files` stores each
user's uploads and exports; `sessions` and `login` authenticate the user.
"""
