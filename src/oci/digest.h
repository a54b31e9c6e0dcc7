// Content digests: "sha256:" and 64 hex digits, or "sha512:" and 128.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

struct evp_md_ctx_st;

namespace runnel::oci {

enum class Algorithm : uint8_t { kSha256, kSha512 };

// "sha256" or "sha512".
std::string_view to_string(Algorithm algorithm);
Result<Algorithm> parse_algorithm(std::string_view text);

// A well-formed digest; safe to build a path or a query from. Ordered and compared by its text.
class Digest {
 public:
  // No digest: to_string() is empty. Only so that a struct can have a member that is filled later.
  Digest() = default;

  // kInvalid unless a known algorithm, ':' and exactly as many lower-case hex digits as it has.
  static Result<Digest> parse(std::string_view text);
  static Digest from_sha256(const std::array<std::byte, 32>& value);
  static Digest of(Bytes bytes, Algorithm algorithm = Algorithm::kSha256);

  const std::string& to_string() const { return text_; }
  std::string_view hex() const;
  Algorithm algorithm() const;
  bool empty() const { return text_.empty(); }
  // kUnsupported when this is not a SHA-256.
  Result<std::array<std::byte, 32>> sha256_value() const;

  auto operator<=>(const Digest&) const = default;

 private:
  friend class Digester;
  explicit Digest(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

// The digest of bytes that come in pieces.
class Digester {
 public:
  explicit Digester(Algorithm algorithm = Algorithm::kSha256);

  void update(Bytes bytes);
  // The digest of everything since the start or the last finish(); then starts anew.
  Digest finish();

 private:
  void start();

  struct FreeContext {
    void operator()(evp_md_ctx_st* context) const;
  };
  Algorithm algorithm_;
  std::unique_ptr<evp_md_ctx_st, FreeContext> context_;
};

}  // namespace runnel::oci

template <>
struct std::hash<runnel::oci::Digest> {
  size_t operator()(const runnel::oci::Digest& digest) const noexcept {
    return std::hash<std::string>()(digest.to_string());
  }
};

template <>
struct fmt::formatter<runnel::oci::Digest> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const runnel::oci::Digest& digest, Context& context) const {
    return fmt::formatter<std::string_view>::format(digest.to_string(), context);
  }
};
