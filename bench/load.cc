// runnel-load: a load generator on one thread. Prints what it measured as one line of JSON.
#include <openssl/ssl.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "load_run.h"

namespace runnel::bench {

namespace {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};

struct Options {
  RunOptions run;
  ReadOptions read;
  PushOptions push;
  bool tls = false;
  double seconds = 2;
  double warm_up = 0.3;
};

Duration duration_of(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

void print(const Measured& measured) {
  fmt::print(
      "{{\"done\": {}, \"bytes\": {}, \"seconds\": {:.6f}, \"generator_cpu_seconds\": {:.4f}, "
      "\"p50_us\": {:.1f}, \"p99_us\": {:.1f}, \"max_us\": {:.1f}}}\n",
      measured.done, measured.bytes, measured.seconds, measured.cpu_seconds,
      measured.percentile(0.5), measured.percentile(0.99), measured.percentile(1));
}

int run_job(Options& options, bool reads) {
  std::signal(SIGPIPE, SIG_IGN);
  // Who the server is was verified by whoever starts this.
  const std::unique_ptr<SSL_CTX, FreeContext> tls(options.tls ? SSL_CTX_new(TLS_client_method())
                                                              : nullptr);
  if (tls)
    SSL_CTX_set_mode(tls.get(),
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  options.run.tls = tls.get();
  options.run.at_most = duration_of(options.seconds);
  const auto host = fmt::format("127.0.0.1:{}", options.run.port);
  std::unique_ptr<Job> job;
  if (reads) {
    options.run.warm_up = duration_of(options.warm_up);
    job = std::make_unique<ReadJob>(options.read, host);
  } else {
    job = std::make_unique<PushJob>(options.push, host, options.run.connections);
  }
  const auto measured = run(options.run, *job);
  if (!measured) {
    fmt::print(stderr, "runnel-load: {}\n", measured.error().message);
    return 1;
  }
  print(*measured);
  return 0;
}

int main_of(int argc, char** argv) {
  Options options;
  CLI::App app("asks an HTTP server for the same thing over many connections, and measures it");
  app.require_subcommand(1);
  auto* read = app.add_subcommand("read", "GET or HEAD again and again");
  auto* push = app.add_subcommand("push", "push blobs to a registry");
  for (auto* command : {read, push}) {
    command->add_option("--port", options.run.port)->required();
    command->add_option("--connections", options.run.connections)->check(CLI::Range(1, 4000));
    command->add_option("--seconds", options.seconds, "at most");
    command->add_flag("--tls", options.tls);
  }
  read->add_option("--warm-up", options.warm_up, "seconds that are not measured");
  read->add_option("--method", options.read.method)->check(CLI::IsMember({"GET", "HEAD"}));
  read->add_option("--target", options.read.target)->required();
  read->add_option("--header", options.read.headers, "\"Name: value\"")->take_all();
  auto* range = read->add_option("--range", options.read.range, "bytes");
  read->add_option("--of", options.read.of, "bytes of the whole")->needs(range);
  push->add_option("--repository", options.push.repository)->required();
  push->add_option("--bytes", options.push.bytes)->check(CLI::PositiveNumber);
  push->add_option("--count", options.push.count)->check(CLI::PositiveNumber);
  push->add_option("--seed", options.push.seed, "another one for other blobs");
  CLI11_PARSE(app, argc, argv);
  if (options.read.range > options.read.of) {
    fmt::print(stderr, "runnel-load: --range is more than --of\n");
    return 2;
  }
  return run_job(options, read->parsed());
}

}  // namespace

}  // namespace runnel::bench

int main(int argc, char** argv) {
  return runnel::bench::main_of(argc, argv);
}
