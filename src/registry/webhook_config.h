// A receiver of webhooks, as the configuration says it.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace runnel::registry {

struct WebhookConfig {
  std::string url;
  std::vector<std::string> repositories = {"*"};
  std::string authorization;  // the header's value; "": none
  // Path of a PEM file that vouches for the receiver, besides the system's; "": none.
  std::string ca;
};
using Webhooks = std::map<std::string, WebhookConfig>;

}  // namespace runnel::registry
