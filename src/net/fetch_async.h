// Small responses for coroutines.
#pragma once

#include "net/async.h"
#include "net/client.h"
#include "net/transfer_report.h"

namespace runnel::net {

// As Client::fetch(), and blocks no thread. `words` are the request's scope: a TransferScope cannot
// be around a co_await. The client must live until it has returned, which its end hastens.
awaitable<Result<BufferedResponse>> fetch_async(Client& client, ClientRequest request,
                                                size_t body_limit, TransferScope::Words words);

}  // namespace runnel::net
