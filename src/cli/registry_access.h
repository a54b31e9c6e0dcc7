// A command's way to registries: an HTTP client, hosts and the user's docker credentials.
#pragma once

#include <memory>

#include "base/clock.h"
#include "cli/cli.h"
#include "net/client.h"
#include "oci/reference.h"
#include "remote/gateway.h"
#include "remote/repository.h"

namespace runnel::cli {

class RegistryAccess {
 public:
  explicit RegistryAccess(const RegistryOptions& options);
  RegistryAccess(const RegistryOptions& options,
                 std::shared_ptr<remote::CredentialSource> credentials);

  remote::Repository repository(const oci::Reference& reference) const;
  const std::shared_ptr<remote::Gateway>& gateway() const { return gateway_; }

 private:
  SystemClock clock_;
  net::Client client_;
  std::shared_ptr<remote::Gateway> gateway_;
};

// The error with what to do about it: to log in where the registry refuses, to look where it cannot
// be reached. Others are as they were.
Error with_advice(Error error, const std::string& host);

// The same for an error of convert::check_rights(). `ours`: the registry is Runnel's own.
Error with_push_advice(Error error, const oci::Reference& image, bool ours);

}  // namespace runnel::cli
