#include "mirror/answers.h"

#include <boost/json.hpp>

namespace runnel::mirror {

net::Response error_response(int status, const char* code, const std::string& message) {
  const boost::json::object error{{"code", code}, {"message", message}};
  const boost::json::object body{{"errors", boost::json::array{error}}};
  return net::Response(status, net::Headers{{"Content-Type", "application/json"}},
                       boost::json::serialize(body));
}

}  // namespace runnel::mirror
