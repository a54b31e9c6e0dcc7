// What the SQLite driver's statements cost: none of them may walk a table that grows with what is
// stored, or sort what it finds there.
//
// The statements are those that this program's other tests run: the test starts the program again,
// with a trace of all its connections, and asks SQLite how it goes about each.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <string>

#include "base/fd.h"
#include "meta/sqlite_store.h"
#include "support/temp_dir.h"

namespace runnel::meta {
namespace {

constexpr const char* kTraceTo = "RUNNEL_TEST_STATEMENTS";  // a file's path

// What may walk a table, and why.
constexpr struct {
  std::string_view part;  // of the statement
  std::string_view why;
} kAllowed[] = {
    {"sqlite_master", "the schema"},
    {"INSERT INTO new_references", "the schema's fifth step, once"},
    {"json_each(", "the schema's eighth step, once"},
    {"status < 2 AND (claimed_until <= ? OR claimed_until > ?)",
     "only what waits is in that index, in the order of turns"},
    {"UPDATE blob_links SET hidden = 1 WHERE repository = ?", "a repository is deleted"},
    {"FROM blob_links WHERE repository = ?1 AND hidden = 1 AND review = 0 LIMIT ?2",
     "some of it is forgotten"},
    {"FROM blob_links WHERE repository = ?1 LIMIT ?2", "as well"},
    {"WHERE repository = ? AND deletion IS NULL", "a repository is deleted"},
};

class Trace {
 public:
  explicit Trace(std::string path) : path_(std::move(path)) {}
  ~Trace() {
    std::FILE* file = std::fopen(path_.c_str(), "we");
    if (file == nullptr) return;
    for (const auto& each : statements_) std::fwrite(each.c_str(), 1, each.size() + 1, file);
    std::fclose(file);
  }
  void add(const char* sql) {
    const std::lock_guard lock(mutex_);
    statements_.insert(sql);
  }

 private:
  const std::string path_;
  std::mutex mutex_;
  std::set<std::string> statements_;
};

Trace& trace() {
  const char* path = std::getenv(kTraceTo);
  static Trace one(path == nullptr ? "" : path);
  return one;
}

int on_statement(unsigned, void*, void* statement, void*) {
  trace().add(sqlite3_sql(static_cast<sqlite3_stmt*>(statement)));
  return 0;
}

int on_connection(sqlite3* database, const char**, const void*) {
  return sqlite3_trace_v2(database, SQLITE_TRACE_STMT, on_statement, nullptr);
}

// Before main, so that no connection is missed.
const bool kTracing = [] {
  if (std::getenv(kTraceTo) == nullptr) return false;
  trace();
  sqlite3_auto_extension(reinterpret_cast<void (*)()>(on_connection));
  return true;
}();

std::set<std::string> traced_statements(const std::string& path) {
  const auto bytes = read_file(path, 16 << 20).value();
  std::set<std::string> found;
  std::string_view rest = as_text(bytes);
  while (!rest.empty()) {
    const auto end = rest.find('\0');
    found.emplace(rest.substr(0, end));
    rest.remove_prefix(end + 1);
  }
  return found;
}

bool is_asked(std::string_view sql) {
  for (const auto* verb : {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"})
    if (sql.starts_with(verb)) return true;
  return false;
}

bool is_allowed(std::string_view sql) {
  for (const auto& each : kAllowed)
    if (sql.find(each.part) != std::string_view::npos) return true;
  return false;
}

// Goes over more than it gives.
bool is_wasteful(std::string_view step) {
  if (step == "SCAN CONSTANT ROW") return false;
  if (step.starts_with("SCAN")) return true;
  // A sort, an index that is made for the one query, and all that one repository has.
  for (const auto* sign : {"TEMP B-TREE", "AUTOMATIC", "PRIMARY KEY (repository=?)",
                           "autoindex_manifests_1 (repository=?)"})
    if (step.find(sign) != std::string_view::npos) return true;
  return false;
}

std::vector<std::string> plan_of(sqlite3* database, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  const auto asked = "EXPLAIN QUERY PLAN " + sql;
  EXPECT_EQ(sqlite3_prepare_v2(database, asked.c_str(), -1, &statement, nullptr), SQLITE_OK)
      << sql << ": " << sqlite3_errmsg(database);
  std::vector<std::string> steps;
  while (sqlite3_step(statement) == SQLITE_ROW)
    steps.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(statement, 3)));
  sqlite3_finalize(statement);
  return steps;
}

TEST(Plans, NoStatementWalksATableThatGrows) {
  if (kTracing) GTEST_SKIP() << "this is the program that is traced";
  const test::TempDir directory;
  const auto list = directory.path() + "/statements";
  const auto command = fmt::format("{}={} {} --gtest_filter='Sqlite/*' > /dev/null", kTraceTo, list,
                                   std::filesystem::read_symlink("/proc/self/exe").string());
  ASSERT_EQ(std::system(command.c_str()), 0) << "the traced tests fail";
  const SystemClock clock;
  const auto path = directory.path() + "/metadata.sqlite";
  ASSERT_TRUE(SqliteStore::open(path, clock));
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);

  size_t asked = 0;
  bool referrers_from_the_index = false;
  for (const auto& sql : traced_statements(list)) {
    if (!is_asked(sql) || is_allowed(sql)) continue;
    ++asked;
    for (const auto& step : plan_of(database, sql)) {
      EXPECT_FALSE(is_wasteful(step)) << step << ": " << sql;
      referrers_from_the_index |=
          sql.find("m.descriptor") != std::string::npos &&
          step.starts_with("SEARCH m USING COVERING INDEX manifests_by_subject");
    }
  }
  EXPECT_GT(asked, 60u);
  EXPECT_TRUE(referrers_from_the_index) << "a page of them reads the manifests, too";
  sqlite3_close(database);
}

}  // namespace
}  // namespace runnel::meta
