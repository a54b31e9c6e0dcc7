// Reads one blob from its first byte to its last, however often the connection is cut, and checks
// what is known of it. Internal to remote/.
#pragma once

#include <functional>
#include <optional>

#include "oci/digest.h"
#include "remote/exchange.h"

namespace runnel::remote {

// One read; one thread.
class BlobReader {
 public:
  using Consume = std::function<Result<void>(Bytes)>;

  struct Expected {
    std::optional<oci::Digest> digest;  // none: `consume` verifies what it gets
    std::optional<uint64_t> size;
    // With a size, so many bytes are asked for by themselves, and the rest when they have been
    // consumed. 0: the whole at once.
    uint64_t first_part = 0;
    // When to give up although bytes come; none: never.
    std::optional<SteadyTime> deadline = std::nullopt;
  };

  // `call` asks for the whole blob.
  BlobReader(const Exchange& exchange, Call call, Expected expected);

  Result<void> run(const Consume& consume);

 private:
  Result<void> attempt(const Consume& consume);
  // How many bytes of the body come before the position we want.
  Result<uint64_t> check_head(const Answer& answer) const;
  Result<void> take(Bytes piece, const Consume& consume);
  std::string where() const { return exchange_.where(call_.what); }

  const Exchange& exchange_;
  Call call_;
  const std::optional<oci::Digest> digest_;
  const std::optional<uint64_t> size_;
  const uint64_t first_part_;
  const std::optional<SteadyTime> deadline_;
  uint64_t position_ = 0;
  std::optional<oci::Digester> digester_;
  std::optional<Answer> refusal_;  // of the last attempt
  bool final_ = false;             // the last error is one that another attempt cannot change
};

}  // namespace runnel::remote
