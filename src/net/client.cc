#include "net/client.h"

#include <future>

#include "net/buffer_sink.h"
#include "net/client_loop.h"
#include "net/opened_body.h"

namespace runnel::net {

namespace {

Result<ResponseHead> wait_for(ClientLoop& loop, ClientRequest request,
                              std::shared_ptr<ResponseSink> sink) {
  RUNNEL_CHECK(!loop.on_this_thread());
  auto promise = std::make_shared<std::promise<Result<ResponseHead>>>();
  auto future = promise->get_future();
  loop.start(std::move(request), std::move(sink),
             [promise](Result<ResponseHead> result) { promise->set_value(std::move(result)); });
  return future.get();
}

}  // namespace

class Client::Impl : public ClientLoop {
 public:
  using ClientLoop::ClientLoop;
};

Client::Client() : Client(Options()) {}
Client::Client(Options options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Client::~Client() {
  impl_->stop();
}

uint64_t Client::start(ClientRequest request, std::shared_ptr<ResponseSink> sink, Done done) {
  return impl_->start(std::move(request), std::move(sink), std::move(done));
}

void Client::cancel(uint64_t transfer) {
  impl_->cancel(transfer);
}

void Client::resume(uint64_t transfer) {
  impl_->resume(transfer);
}

void Client::shutdown() {
  impl_->stop();
}

bool Client::rest(Duration time) {
  return impl_->rest(time);
}

Result<BufferedResponse> Client::fetch(ClientRequest request, size_t body_limit) {
  auto shown = request.method + " " + without_secrets(request.url);
  auto sink = std::make_shared<BufferSink>(body_limit, std::move(shown));
  BufferedResponse response;
  RUNNEL_TRY(response.head, wait_for(*impl_, std::move(request), sink));
  response.body = sink->take();
  return response;
}

awaitable<Result<OpenedResponse>> Client::open(ClientRequest request) {
  auto pipe = std::make_shared<Pipe>();
  Done done = [pipe](Result<ResponseHead> result) { pipe->finish(std::move(result)); };
  const uint64_t transfer = impl_->start(std::move(request), pipe, std::move(done));
  OpenedResponse response;
  // From here on, leaving cancels.
  response.body = std::make_unique<OpenedBody>(std::weak_ptr<ClientLoop>(impl_), transfer, pipe);
  RUNNEL_CO_TRY(response.head, co_await pipe->wait_head());
  co_return response;
}

}  // namespace runnel::net
