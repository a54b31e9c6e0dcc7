#include "net/metrics_server.h"

#include "base/log.h"
#include "base/metrics_page.h"
#include "base/quote.h"
#include "net/async.h"
#include "net/url.h"

namespace runnel::net {

namespace {

struct Address {
  std::string host;
  uint16_t port = 0;
};

Result<Address> parse(const std::string& text) {
  // Port 0, which is none in a URL, asks for a free one here.
  const bool any_port = text.ends_with(":0");
  const auto parsed = split_host_port(any_port ? text.substr(0, text.size() - 2) : text);
  if (!parsed || parsed->host.empty() || parsed->port.has_value() == any_port) {
    return fail(Code::kInvalid,
                "metrics: {} is neither ADDRESS:PORT, for example 127.0.0.1:9863, nor \"off\"",
                quote(text));
  }
  return Address{.host = parsed->host, .port = parsed->port.value_or(0)};
}

}  // namespace

Result<void> check_metrics_address(const std::string& listen) {
  if (listen == kNoMetrics) return {};
  RUNNEL_TRY(const auto address, parse(listen));
  return {};
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::listen(const std::string& address,
                                                             std::function<std::string()> page) {
  if (address == kNoMetrics) return std::unique_ptr<MetricsServer>();
  RUNNEL_TRY(const auto parsed, parse(address));
  std::unique_ptr<MetricsServer> metrics(new MetricsServer(std::move(page)));
  metrics->host_ = parsed.host;
  Server::Options options;
  options.address = parsed.host;
  options.port = parsed.port;
  options.threads = 1;
  options.max_connections = 64;
  auto server = Server::listen(std::move(options), *metrics);
  if (!server) {
    return std::unexpected(
        server.error().in("metrics (--metrics ADDR:PORT chooses another, --metrics off none)"));
  }
  metrics->server_ = *std::move(server);
  return metrics;
}

std::unique_ptr<MetricsServer> MetricsServer::listen_or_warn(const std::string& address,
                                                             std::function<std::string()> page) {
  auto server = listen(address, std::move(page));
  if (server) return *std::move(server);
  log::warning("no metrics are served until the next start: {}", server.error().message);
  return nullptr;
}

MetricsServer::~MetricsServer() = default;

std::string MetricsServer::address() const {
  const bool ipv6 = host_.contains(':');
  return fmt::format("{}{}{}:{}", ipv6 ? "[" : "", host_, ipv6 ? "]" : "", server_->port());
}

awaitable<Response> MetricsServer::handle(Request& request, RequestBody&) {
  if (request.path != "/metrics") {
    co_return Response(404, Headers{{"Content-Type", "text/plain"}},
                       std::string("there is only /metrics here\n"));
  }
  if (request.method != "GET" && request.method != "HEAD") co_return Response(405);
  auto page = co_await on_pool(pool_, page_);
  co_return Response(200, Headers{{"Content-Type", MetricsPage::kContentType}}, std::move(page));
}

}  // namespace runnel::net
