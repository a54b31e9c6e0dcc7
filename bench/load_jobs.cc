#include "load_jobs.h"

#include <algorithm>
#include <random>

#include "oci/digest.h"

namespace runnel::bench {

namespace {

constexpr size_t kDifferentRanges = 4096;
constexpr uint64_t kLargestDifferent = 64 * 1024;
constexpr size_t kBlock = 1 << 20;

// "/v2/…" of "http://host:port/v2/…".
std::string_view path_of(std::string_view location) {
  const auto scheme = location.find("://");
  if (scheme == std::string_view::npos) return location;
  const auto slash = location.find('/', scheme + 3);
  return slash == std::string_view::npos ? "/" : location.substr(slash);
}

}  // namespace

ReadJob::ReadJob(const ReadOptions& options, const std::string& host)
    : head_only_(options.method == "HEAD"),
      status_(options.range == 0 ? 200 : 206),
      size_(options.range) {
  auto head = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", options.method, options.target, host);
  for (const auto& line : options.headers) head += line + "\r\n";
  if (options.range == 0) {
    requests_.push_back(head + "\r\n");
    return;
  }
  std::mt19937_64 random(1);
  for (size_t i = 0; i < kDifferentRanges; ++i) {
    const auto first = random() % (options.of - options.range + 1);
    requests_.push_back(
        fmt::format("{}Range: bytes={}-{}\r\n\r\n", head, first, first + options.range - 1));
  }
}

std::optional<Outgoing> ReadJob::next(size_t) {
  Outgoing made;
  made.head = requests_[turn_++ % requests_.size()];
  made.head_only = head_only_;
  return made;
}

Result<Job::Step> ReadJob::answered(size_t, const Answer& answer) {
  if (answer.status != status_)
    return fail(Code::kInvalid, "status {} instead of {}", answer.status, status_);
  if (size_ == 0) size_ = answer.body_size;
  if (answer.body_size != size_)
    return fail(Code::kInvalid, "{} bytes instead of {}", answer.body_size, size_);
  return Step::kDone;
}

PushJob::PushJob(const PushOptions& options, std::string host, size_t connections)
    : options_(options), host_(std::move(host)), states_(connections) {
  if (options.bytes <= kLargestDifferent) return;
  Buffer block(kBlock, std::byte{7});
  oci::Digester digester;
  for (uint64_t left = options.bytes; left > 0;) {
    const auto part = Bytes(block).first(std::min<uint64_t>(left, block.size()));
    digester.update(part);
    left -= part.size();
  }
  const auto digest = digester.finish().to_string();
  for (auto& state : states_) {
    state.block = block;
    state.digest = digest;
  }
}

void PushJob::make_blob(State& state) {
  if (options_.bytes > kLargestDifferent) return;
  std::mt19937_64 random(options_.seed * 1'000'003 + begun_);
  state.block.resize(options_.bytes);
  std::ranges::generate(state.block, [&] { return static_cast<std::byte>(random()); });
  state.digest = oci::Digest::of(state.block).to_string();
}

Outgoing PushJob::post() const {
  Outgoing made;
  made.head =
      fmt::format("POST /v2/{}/blobs/uploads/ HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\n\r\n",
                  options_.repository, host_);
  return made;
}

Outgoing PushJob::put(State& state) {
  Outgoing made;
  const auto separator = state.location.find('?') == std::string::npos ? '?' : '&';
  made.head = fmt::format(
      "PUT {}{}digest={} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n"
      "Content-Type: application/octet-stream\r\n\r\n",
      path_of(state.location), separator, state.digest, host_, options_.bytes);
  made.block = state.block;
  made.body_size = options_.bytes;
  return made;
}

std::optional<Outgoing> PushJob::next(size_t connection) {
  auto& state = states_[connection];
  if (!state.location.empty()) return put(state);
  if (begun_ == options_.count) return std::nullopt;
  make_blob(state);
  ++begun_;
  return post();
}

Result<Job::Step> PushJob::answered(size_t connection, const Answer& answer) {
  auto& state = states_[connection];
  const int expected = state.location.empty() ? 202 : 201;
  if (answer.status != expected)
    return fail(Code::kInvalid, "status {} instead of {}", answer.status, expected);
  if (!state.location.empty()) {
    state.location.clear();
    return Step::kDone;
  }
  if (answer.location.empty()) return fail(Code::kInvalid, "202 without a Location");
  state.location = answer.location;
  return Step::kGoesOn;
}

}  // namespace runnel::bench
