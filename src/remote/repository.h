// One repository of one registry, as a client of the distribution protocol sees it.
//
// Every call blocks, for a bounded time: attempts are counted, a silent registry has failed after
// GatewayOptions::stall_timeout. Errors begin with host, repository and what was asked for, and end
// with the registry's own words. Codes: kNotFound (404), kDenied (401, 403, an address that we must
// not follow), kUnavailable (gone, slow, 5xx, 429: after the retries), kInvalid (the registry's
// answer is wrong: other bytes than the digest says, a range that was not asked for).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/fd.h"
#include "oci/descriptor.h"
#include "oci/document.h"
#include "remote/exchange.h"
#include "remote/gateway.h"

namespace runnel::remote {

struct RemoteManifest {
  Buffer bytes;  // exactly as stored
  std::string media_type;
  oci::Digest digest;  // of `bytes`

  oci::Descriptor descriptor() const;
};

struct PushedManifest {
  oci::Digest digest;
  // The registry has the referrers API and took the manifest's subject into account.
  bool subject_seen = false;
};

// Which entries of a list of referrers, and what of each. Whoever may push to the repository fills
// the list, and annotations can be most of it.
struct WantedReferrers {
  std::vector<std::string> artifact_types = {};  // one of these; of any type when empty
  bool briefly = false;  // media type, digest, size and artifact type, and nothing else
};

// What push_blob sends. A file is read by offset, once for every attempt.
using BlobSource = std::variant<Bytes, net::FileRange>;

// Any thread may call any method.
class Repository {
 public:
  // Gets the bytes of a blob piece by piece, on the caller's thread; may take its time. An error
  // ends the read.
  using Consume = std::function<Result<void>(Bytes)>;

  Repository(std::shared_ptr<Gateway> gateway, std::string host, std::string name);

  const std::string& host() const { return exchange_.endpoint().host; }
  const std::string& name() const { return name_; }

  // `reference` is a tag or a digest.
  Result<oci::Descriptor> resolve(std::string_view reference) const;
  // The bytes' digest is checked when `reference` is one, or when the registry names it.
  Result<RemoteManifest> manifest(std::string_view reference,
                                  size_t limit = oci::kMaxDocumentBytes) const;
  Result<PushedManifest> push_manifest(std::string_view reference, std::string_view media_type,
                                       Bytes bytes) const;
  // kNotFound when it is not there.
  Result<void> delete_manifest(std::string_view reference) const;

  // The whole blob, resumed where it was cut. `consume` sees bytes before they are verified;
  // success means that all of them came and that size and digest are right.
  Result<void> blob(const oci::Descriptor& blob, const Consume& consume) const;
  // The same for who verifies each part of it as it comes, by a digest of that part: nothing but
  // the size is checked here. The first `first_part` bytes are asked for by themselves: the rest is
  // not on the line before they are consumed.
  Result<void> blob_in_parts(const oci::Descriptor& blob, const Consume& consume,
                             uint64_t first_part) const;
  // kExhausted when it is larger than `limit`, kUnavailable when it is not all here `within` that
  // time, although bytes come.
  Result<Buffer> blob_bytes(const oci::Digest& digest, size_t limit,
                            std::optional<Duration> within = std::nullopt) const;
  // Exactly these bytes, which nobody has verified. A registry that ignores ranges is read up to
  // them when they begin near the front, and is kUnsupported otherwise.
  Result<Buffer> blob_range(const oci::Digest& digest, uint64_t offset, uint64_t length) const;
  Result<bool> has_blob(const oci::Digest& digest) const;

  // kDenied when blobs may not be pushed here. An upload is begun and cancelled, so nothing stays.
  Result<void> check_push() const;
  // Nothing is sent when it is there already. True when bytes were sent.
  Result<bool> push_blob(const oci::Digest& digest, const BlobSource& source) const;
  // Makes the blob of another repository of the host appear here without sending it. False when the
  // registry would not; the caller pushes then.
  Result<bool> mount_blob(const oci::Digest& digest, const std::string& from) const;

  // What refers to `subject`. Follows pages; without the referrers API the fallback tag's list is
  // read. Empty when there is nothing, kExhausted when the list is longer than anybody's is.
  Result<oci::Index> referrers(const oci::Digest& subject,
                               const WantedReferrers& wanted = {}) const;
  // Pushes a manifest that has a subject so that referrers() finds it, whatever the registry can:
  // the fallback tag's list is kept where there is no API. Doing it again changes nothing.
  Result<oci::Descriptor> push_referrer(const oci::Manifest& manifest) const;

 private:
  std::string url(std::string_view rest) const;
  Call call(std::string method, std::string url, Scope scope, std::string what) const;
  std::string where(const std::string& what) const { return exchange_.where(what); }

  Result<bool> has_blob(const oci::Digest& digest, const Scope& scope) const;
  Call blob_call(const oci::Digest& digest) const;
  Result<Buffer> try_blob_range(const Call& get, uint64_t offset, uint64_t length,
                                std::optional<Answer>& refusal) const;

  Result<std::string> upload_location(const Answer& started, const std::string& what) const;
  Result<void> put_upload(const Answer& started, const oci::Digest& digest,
                          const BlobSource& source, std::optional<Answer>& refusal) const;
  void cancel_upload(const Answer& started) const;

  Result<std::optional<oci::Index>> listed_referrers(const oci::Digest& subject,
                                                     const WantedReferrers& wanted) const;
  Result<oci::Index> tagged_referrers(const oci::Digest& subject) const;
  Result<void> add_tagged_referrer(const oci::Digest& subject, const oci::Descriptor& entry) const;

  const std::string name_;
  const Exchange exchange_;
};

}  // namespace runnel::remote
