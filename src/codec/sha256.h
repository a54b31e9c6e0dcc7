// SHA-256 (FIPS 180-4), from OpenSSL, which uses the processor's SHA instructions.
#pragma once

#include <array>
#include <cstddef>
#include <memory>

#include "base/bytes.h"

struct evp_md_ctx_st;

namespace runnel::codec {

using Sha256Value = std::array<std::byte, 32>;

// The digest of bytes that come in pieces.
class Sha256 {
 public:
  Sha256();

  void update(Bytes bytes);

  // The digest of everything since the start or the last finish(); then starts anew.
  Sha256Value finish();

 private:
  struct FreeContext {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, FreeContext> context_;
};

Sha256Value sha256(Bytes bytes);

}  // namespace runnel::codec
