// The requests of the conversion API, one function each.
#pragma once

#include <string>
#include <string_view>

#include "cli/session.h"

namespace runnel::cli {

struct OperationName {
  std::string repository;
  std::string id;
};

// An operation as the API briefly says it.
struct BriefOperation {
  std::string id;
  std::string status;
};

// "NotStarted" and "Running": it has not ended.
bool is_ongoing(std::string_view status);

class StreamingCalls {
 public:
  StreamingCalls(const Session& session, std::string repository)
      : session_(session), repository_(std::move(repository)) {}

  // The digest behind the image's name, as the API's tags have it.
  Result<oci::Digest> digest_of(const ImageName& image) const;
  // There is a streaming artifact of this manifest or index.
  Result<bool> has_artifact(const oci::Digest& digest) const;

  // The switch of the repository.
  Result<boost::json::value> read_switch() const;
  // What is not said stays as it is.
  Result<boost::json::value> set_switch(std::optional<bool> convert_pushed,
                                        std::optional<unsigned> hold_tag_seconds) const;

  // The last operation of an image; empty when it was never converted.
  Result<std::optional<BriefOperation>> last_operation(const oci::Digest& digest) const;
  // Asks for a conversion; the answer, whatever its status.
  Result<remote::ApiAnswer> start(const oci::Digest& digest) const;
  // The same for every tagged image: {"operations": […], "skipped": N}.
  Result<boost::json::value> start_all() const;
  Result<boost::json::value> delete_artifacts(const oci::Digest& digest) const;

  // What nodes told of the starts of one platform's image.
  Result<boost::json::value> profile(const oci::Digest& digest) const;

  Result<boost::json::value> operation(std::string_view id) const;
  Result<boost::json::value> cancel(std::string_view id) const;

  // What start() was refused with.
  std::unexpected<Error> start_refused(const remote::ApiAnswer& answer) const;

 private:
  remote::ApiCall call(std::string method, std::string_view root, std::string_view rest,
                       std::string_view actions, std::string what) const;

  const Session& session_;
  const std::string repository_;
};

}  // namespace runnel::cli
