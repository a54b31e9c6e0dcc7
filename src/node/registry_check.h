// `runnel node check-registry HOST/REPO[:TAG]`: everything that has to work before an image of that
// repository streams, one step after another, and what to do about the first that does not.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "node/trust.h"
#include "oci/reference.h"
#include "remote/gateway.h"

namespace runnel::node {

struct CheckStep {
  std::string name;  // "resolve", "connect", …
  bool ok = false;
  std::string detail;  // what was found, in a sentence
  std::string next;    // what to do; empty when ok
};

// Blocks for as long as a few requests may take. The steps up to the first failure.
class RegistryCheck {
 public:
  RegistryCheck(std::shared_ptr<remote::Gateway> gateway, const Trust& trust,
                std::function<bool(const std::string& host)> is_configured)
      : gateway_(std::move(gateway)), trust_(trust), is_configured_(std::move(is_configured)) {}

  std::vector<CheckStep> run(const oci::Reference& reference) const;

 private:
  using Step = Result<std::string>;  // the detail

  Step configured(const oci::Reference& reference) const;
  Step resolve(const oci::Reference& reference) const;
  Step connect(const oci::Reference& reference) const;
  Step token(const oci::Reference& reference) const;
  Step pull(const oci::Reference& reference) const;
  Step artifact(const oci::Reference& reference) const;
  Step trusted(const oci::Reference& reference) const;

  const std::shared_ptr<remote::Gateway> gateway_;
  const Trust& trust_;
  const std::function<bool(const std::string& host)> is_configured_;
};

}  // namespace runnel::node
