// net/ is HTTP: a server, a client, and what both need. It is the only place that knows Beast and
// curl.
//
// server.h  HTTP/1.1 server; a Handler is a coroutine that gets a Request and returns a Response
// client.h  HTTP client: callbacks, blocking calls, and coroutines with back-pressure
// fetch_async.h  small responses for coroutines
// async.h   how a coroutine waits for another thread (blocking work, a callback)
// body.h    the two ways of a body: pulled by its reader (BodyStream), or a piece of a file
// headers.h, url.h, ascii.h  the small pieces
//
// It does not hold: registries, tokens, retries (remote/), routes (registry/, mirror/).
// Handlers run on the server's I/O threads and must not block them; the client's callbacks run on
// the client's thread and must not block it. Everything else may be called from any thread.
#pragma once

#include "net/async.h"    // IWYU pragma: export
#include "net/body.h"     // IWYU pragma: export
#include "net/client.h"   // IWYU pragma: export
#include "net/headers.h"  // IWYU pragma: export
#include "net/server.h"   // IWYU pragma: export
#include "net/url.h"      // IWYU pragma: export
