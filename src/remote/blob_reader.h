// Reads one blob from its first byte to its last, however often the connection is cut, and checks
// size and digest. Internal to remote/.
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

  // `call` asks for the whole blob. `size` when it is known; then the first `first_part` bytes are
  // asked for by themselves, and the rest when they have been consumed.
  BlobReader(const Exchange& exchange, Call call, oci::Digest digest, std::optional<uint64_t> size,
             uint64_t first_part = 0);

  Result<void> run(const Consume& consume);

 private:
  Result<void> attempt(const Consume& consume);
  // How many bytes of the body come before the position we want.
  Result<uint64_t> check_head(const Answer& answer) const;
  Result<void> take(Bytes piece, const Consume& consume);
  std::string where() const { return exchange_.where(call_.what); }

  const Exchange& exchange_;
  Call call_;
  const oci::Digest digest_;
  const std::optional<uint64_t> size_;
  const uint64_t first_part_;  // 0: the whole at once
  uint64_t position_ = 0;
  oci::Digester digester_;
  std::optional<Answer> refusal_;  // of the last attempt
  bool final_ = false;             // the last error is one that another attempt cannot change
};

}  // namespace runnel::remote
