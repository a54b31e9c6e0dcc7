// The registries as this node reaches them: one place that knows hosts and credentials.
#pragma once

#include <memory>
#include <string>

#include "fetch/fetcher.h"
#include "remote/gateway.h"
#include "remote/repository.h"

namespace runnel::node {

// Any thread may call any method.
class Registries {
 public:
  Registries(std::shared_ptr<remote::Gateway> gateway, fetch::Fetcher& fetcher)
      : gateway_(std::move(gateway)), fetcher_(fetcher) {}

  remote::Repository repository(const std::string& host, const std::string& name) const {
    return remote::Repository(gateway_, host, name);
  }

  // A blob of that repository, to be read in ranges.
  std::shared_ptr<fetch::RangeSource> source(const std::string& host, const std::string& repository,
                                             const oci::Digest& digest, uint64_t size) const {
    return fetcher_.source(host, repository, digest, size);
  }

 private:
  std::shared_ptr<remote::Gateway> gateway_;
  fetch::Fetcher& fetcher_;
};

}  // namespace runnel::node
