#include "meta/stored.h"

#include "meta/sqlite.h"

namespace runnel::meta {

Result<Stored> stored_in(const std::string& path) {
  RUNNEL_TRY(const auto connection,
             Connection::open(path, Connection::Durability::kConsistentOnly));
  RUNNEL_TRY(auto rows,
             connection->query("SELECT count(*), COALESCE(sum(size), 0), (SELECT page_count * "
                               "page_size FROM pragma_page_count, pragma_page_size) FROM "
                               "(SELECT max(size) AS size FROM blob_links GROUP BY digest)"));
  RUNNEL_TRY([[maybe_unused]] const bool found, rows.next());
  return Stored{.blobs = static_cast<uint64_t>(rows.integer(0)),
                .blob_bytes = static_cast<uint64_t>(rows.integer(1)),
                .metadata_bytes = static_cast<uint64_t>(rows.integer(2))};
}

}  // namespace runnel::meta
