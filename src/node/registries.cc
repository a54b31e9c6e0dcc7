#include "node/registries.h"

namespace runnel::node {

// Notes whether reads are refused.
class Registries::Watched final : public fetch::RangeSource {
 public:
  Watched(std::shared_ptr<fetch::RangeSource> inner, std::shared_ptr<Refusals> refusals,
          Refusals::Place place)
      : inner_(std::move(inner)), refusals_(std::move(refusals)), place_(std::move(place)) {}

  uint64_t size() const override { return inner_->size(); }

  Duration round_trip() const override { return inner_->round_trip(); }
  bool takes_background() const override { return inner_->takes_background(); }
  SteadyTime heard_at() const override { return inner_->heard_at(); }

  void read(uint64_t offset, uint64_t length, fetch::Priority priority, SteadyTime deadline,
            Done done) override {
    inner_->read(offset, length, priority, deadline, noting(std::move(done)));
  }

  void read_each(std::vector<Part> parts, fetch::Priority priority, SteadyTime deadline) override {
    for (auto& part : parts) part.done = noting(std::move(part.done));
    inner_->read_each(std::move(parts), priority, deadline);
  }

 private:
  // `done`, after a look at the outcome.
  Done noting(Done done) const {
    return [refusals = refusals_, place = place_, done = std::move(done)](Result<Buffer> outcome) {
      if (outcome || outcome.error().code == Code::kDenied) {
        const std::lock_guard lock(refusals->mutex);
        if (outcome) {
          refusals->words.erase(place);
        } else {
          refusals->words.insert_or_assign(place, outcome.error().message);
        }
      }
      done(std::move(outcome));
    };
  }

  const std::shared_ptr<fetch::RangeSource> inner_;
  const std::shared_ptr<Refusals> refusals_;
  const Refusals::Place place_;
};

std::shared_ptr<fetch::RangeSource> Registries::source(const std::string& host,
                                                       const std::string& repository,
                                                       const oci::Digest& digest, uint64_t size) {
  return std::make_shared<Watched>(parts_.fetcher.source(host, repository, digest, size), refusals_,
                                   Refusals::Place(host, repository));
}

std::optional<std::string> Registries::denied(const std::string& host,
                                              const std::string& repository) const {
  const std::lock_guard lock(refusals_->mutex);
  const auto found = refusals_->words.find({host, repository});
  if (found == refusals_->words.end()) return std::nullopt;
  return found->second;
}

bool Registries::only_by_token(const std::string& host, const std::string& repository) {
  if (!token_end(host, repository)) return false;
  const auto renewable = parts_.renewable->find(host, repository);
  return !renewable || !*renewable;
}

bool Registries::cannot_renew(const std::string& host, const std::string& repository) const {
  const auto shown = parts_.shown->find(host, repository);
  return shown && *shown && (*shown)->kind == remote::Credential::Kind::kBearer;
}

std::optional<WallTime> Registries::token_end(const std::string& host,
                                              const std::string& repository) const {
  const auto shown = parts_.shown->find(host, repository);
  if (!shown || !*shown) return std::nullopt;
  if ((*shown)->expires) return (*shown)->expires;
  const bool token = (*shown)->kind == remote::Credential::Kind::kBearer;
  return token ? std::optional(WallTime::max()) : std::nullopt;
}

}  // namespace runnel::node
