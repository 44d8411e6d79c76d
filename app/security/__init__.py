"""Access control, and which routes of Gradio are reachable: the middleware between a request and the pages.

A request passes, in this order: `proxies` (forwarded headers count only from configured proxies), `headers`
(what every response says), `hosts`, `origins`, `identity` (a session or none), and, on its way to Gradio,
`gradio_door` (the routes that the pages need) and `bodies` (whose session, whose files). `files` keeps each
user's uploads and exports; `sessions` and `login` know who asks.
"""
