// Names of images, as people write them: [HOST/]REPOSITORY[:TAG][@DIGEST].
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "oci/digest.h"

namespace runnel::oci {

struct Reference {
  std::string host;        // with the port, if one was written; "docker.io" when none was
  std::string repository;  // "library/python"
  std::string tag;         // "latest" when neither tag nor digest was written; empty for none
  std::optional<Digest> digest;

  // As docker and containerd read it: the first component is a host when it has a '.', a ':' or a
  // capital letter, or is "localhost"; without a host it is docker.io, and there a repository of
  // one component is below "library/".
  static Result<Reference> parse(std::string_view text);

  // The whole name, with the host; parse() gives the same back.
  std::string to_string() const;
  // What a request asks for: the digest if there is one, otherwise the tag.
  std::string target() const { return digest ? digest->to_string() : tag; }

  bool operator==(const Reference&) const = default;
};

// The host to connect to for images of `host`: registry-1.docker.io for docker.io, else the same.
std::string registry_host(std::string_view host);

// The grammar of the distribution specification; a repository has at most 255 characters.
bool is_valid_repository(std::string_view text);
bool is_valid_tag(std::string_view text);

}  // namespace runnel::oci
