#include "remote/credential_chain.h"

#include <algorithm>

namespace runnel::remote {

namespace {

constexpr auto kRefusalLife = std::chrono::seconds(60);
constexpr size_t kManyPlaces = 4096;

}  // namespace

std::vector<size_t> CredentialChain::order_for(const Place& place) {
  const std::lock_guard lock(mutex_);
  std::vector<Refusal> refusals;
  if (const auto found = refusals_.find(place); found != refusals_.end()) {
    const SteadyTime now = clock_.now();
    std::erase_if(found->second, [&](const Refusal& one) { return one.until <= now; });
    refusals = found->second;
  }
  std::vector<size_t> order;
  for (size_t i = 0; i < sources_.size(); ++i)
    if (std::ranges::find(refusals, i, &Refusal::source) == refusals.end()) order.push_back(i);
  for (const Refusal& one : refusals) order.push_back(one.source);
  return order;
}

Result<std::optional<Credential>> CredentialChain::find(std::string_view host,
                                                        std::string_view repository) {
  const Place place(host, repository);
  std::optional<Error> failed;
  for (const size_t source : order_for(place)) {
    auto credential = sources_[source]->find(host, repository);
    if (!credential && !failed) failed = credential.error();
    if (!credential || !*credential) continue;
    const std::lock_guard lock(mutex_);
    if (given_.size() > kManyPlaces) given_.clear();
    given_[place] = source;
    return credential;
  }
  if (failed) return std::unexpected(*std::move(failed));
  return std::nullopt;
}

bool CredentialChain::refused(std::string_view host, std::string_view repository,
                              const Credential& credential) {
  const Place place(host, repository);
  size_t source = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto given = given_.find(place);
    if (given == given_.end()) return false;
    source = given->second;
    if (refusals_.size() > kManyPlaces) refusals_.clear();
    auto& refusals = refusals_[place];
    std::erase_if(refusals, [&](const Refusal& one) { return one.source == source; });
    refusals.push_back({.source = source, .until = clock_.now() + kRefusalLife});
  }
  return sources_[source]->refused(host, repository, credential) || sources_.size() > 1;
}

void CredentialChain::exchanged(std::string_view host, std::string_view repository,
                                const Credential& credential, Credential better) {
  size_t source = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto given = given_.find(Place(host, repository));
    if (given == given_.end()) return;
    source = given->second;
  }
  sources_[source]->exchanged(host, repository, credential, std::move(better));
}

}  // namespace runnel::remote
