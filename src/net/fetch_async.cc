#include "net/fetch_async.h"

#include <memory>
#include <optional>

#include "net/buffer_sink.h"
#include "net/url.h"

namespace runnel::net {

awaitable<Result<BufferedResponse>> fetch_async(Client& client, ClientRequest request,
                                                size_t body_limit, TransferScope::Words words) {
  auto shown = request.method + " " + without_secrets(request.url);
  auto sink = std::make_shared<BufferSink>(body_limit, std::move(shown));
  auto ended = std::make_shared<std::optional<Result<ResponseHead>>>();
  std::function<void(Resume)> start = [&](Resume resume) {
    const TransferScope scope(words.about, words.purpose);
    client.start(std::move(request), sink, [ended, resume](Result<ResponseHead> head) {
      *ended = std::move(head);
      resume();
    });
  };
  co_await suspend(std::move(start));
  BufferedResponse response;
  RUNNEL_CO_TRY(response.head, std::move(**ended));
  response.body = sink->take();
  co_return response;
}

}  // namespace runnel::net
