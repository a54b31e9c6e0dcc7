#include "fetch/fetcher.h"

#include "fetch/fetch_loop.h"

namespace runnel::fetch {

namespace {

class BlobSource final : public RangeSource {
 public:
  BlobSource(std::shared_ptr<FetchLoop> loop, std::shared_ptr<Blob> blob)
      : loop_(std::move(loop)), blob_(std::move(blob)) {}

  uint64_t size() const override { return blob_->size; }
  Duration round_trip() const override { return loop_->round_trip(*blob_); }
  SteadyTime heard_at() const override { return blob_->heard_at; }
  bool takes_background() const override { return loop_->takes_background(); }

  void read(uint64_t offset, uint64_t length, Priority priority, SteadyTime deadline,
            Done done) override {
    std::vector<Part> parts;
    parts.push_back({.offset = offset, .length = length, .done = std::move(done)});
    loop_->read_each(blob_, std::move(parts), priority, deadline);
  }
  void read_each(std::vector<Part> parts, Priority priority, SteadyTime deadline) override {
    loop_->read_each(blob_, std::move(parts), priority, deadline);
  }

 private:
  const std::shared_ptr<FetchLoop> loop_;
  const std::shared_ptr<Blob> blob_;
};

}  // namespace

Fetcher::Fetcher(std::shared_ptr<remote::Gateway> gateway, FetcherOptions options)
    : loop_(std::make_shared<FetchLoop>(std::move(gateway), options)) {
  loop_->start();
}

Fetcher::~Fetcher() {
  loop_->stop();
}

std::shared_ptr<RangeSource> Fetcher::source(std::string host, std::string repository,
                                             const oci::Digest& digest, uint64_t size) {
  return std::make_shared<BlobSource>(
      loop_, loop_->blob(std::move(host), std::move(repository), digest, size));
}

std::shared_ptr<void> Fetcher::hold_background() {
  loop_->hold_background();
  return {nullptr, [loop = loop_](void*) { loop->release_background(); }};
}

FetchStats Fetcher::stats() const {
  return loop_->stats();
}

void Fetcher::shutdown() {
  loop_->shutdown();
}

}  // namespace runnel::fetch
