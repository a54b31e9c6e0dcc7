#include "snapshot/record.h"

#include <boost/json.hpp>

#include "base/quote.h"

namespace runnel::snapshot {

namespace {

namespace json = boost::json;

WallTime wall_time(int64_t value) {
  return WallTime(std::chrono::nanoseconds(value));
}

std::unexpected<Error> damaged(const Row& row, std::string_view what) {
  return fail(Code::kUnavailable, "snapshot database: the {} of {} is damaged", what,
              quote(row.name));
}

Result<Kind> kind_of(const Row& row) {
  for (const auto kind : {Kind::kView, Kind::kActive, Kind::kCommitted}) {
    if (row.kind == static_cast<int64_t>(kind)) return kind;
  }
  return damaged(row, "kind");
}

Result<Labels> labels_of(const Row& row) {
  boost::system::error_code error;
  const auto parsed = json::parse(row.labels, error);
  if (error || !parsed.is_object()) return damaged(row, "list of labels");
  Labels labels;
  for (const auto& [key, value] : parsed.get_object()) {
    if (!value.is_string()) return damaged(row, "list of labels");
    labels[key] = std::string(value.get_string());
  }
  return labels;
}

}  // namespace

int64_t to_nanoseconds(WallTime time) {
  return time.time_since_epoch().count();
}

std::string to_text(const Labels& labels) {
  json::object object;
  for (const auto& [key, value] : labels) {
    if (!value.empty()) object[key] = value;
  }
  return json::serialize(object);
}

Row to_row(const Record& record) {
  return {.number = record.number,
          .name = record.info.name,
          .parent = record.info.parent,
          .kind = static_cast<int64_t>(record.info.kind),
          .created = to_nanoseconds(record.info.created),
          .updated = to_nanoseconds(record.info.updated),
          .labels = to_text(record.info.labels),
          .chain_id = record.chain_id,
          .bytes = static_cast<int64_t>(record.usage.bytes),
          .inodes = static_cast<int64_t>(record.usage.inodes)};
}

Result<Record> to_record(Row row) {
  RUNNEL_TRY(const auto kind, kind_of(row));
  RUNNEL_TRY(auto labels, labels_of(row));
  return Record{.number = row.number,
                .info = {.name = std::move(row.name),
                         .parent = std::move(row.parent),
                         .kind = kind,
                         .created = wall_time(row.created),
                         .updated = wall_time(row.updated),
                         .labels = std::move(labels)},
                .chain_id = std::move(row.chain_id),
                .usage = {.bytes = static_cast<uint64_t>(row.bytes),
                          .inodes = static_cast<uint64_t>(row.inodes)}};
}

}  // namespace runnel::snapshot
