// Internal to meta/: how the SQLite driver lends out its reading connections.
#pragma once

#include "meta/sqlite_store.h"

namespace runnel::meta {

class SqliteStore::Reader {
 public:
  Reader(SqliteStore& store, std::unique_ptr<Connection> connection)
      : store_(store), connection_(std::move(connection)) {}
  Reader(Reader&&) = default;
  Reader& operator=(Reader&&) = delete;
  ~Reader() {
    if (connection_ == nullptr) return;
    const std::lock_guard lock(store_.readers_mutex_);
    store_.idle_readers_.push_back(std::move(connection_));
  }

  Connection* operator->() const { return connection_.get(); }
  Connection& operator*() const { return *connection_; }

 private:
  SqliteStore& store_;
  std::unique_ptr<Connection> connection_;
};

}  // namespace runnel::meta
