// A set of file changes that is made whole or taken back whole, by a later process too.
//
//   ROOT/install/0001/journal.json   what is changed (journal.h)
//   ROOT/install/0001/0, 1, …        the bytes before, one file for each that existed
//
// The journal and the copies are durable before the first file is touched, and the journal goes
// last: a crash at any point leaves either nothing or something that can be taken back (see
// rollback.h). Each install is one such directory. One process at a time (see Transactions).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "install/journal.h"
#include "install/plan.h"

namespace runnel::install {

class Transaction {
 public:
  // Notes what shall be changed and copies what is there. kConflict when a file is not what the
  // plan saw.
  static Result<Transaction> begin(const std::string& directory,
                                   const std::vector<FileChange>& changes);
  // One that an earlier process left.
  static Result<Transaction> load(const std::string& directory);

  size_t size() const { return journal_.files.size(); }
  const ChangedFile& file(size_t index) const { return journal_.files[index]; }

  // Writes the change of that index, with the mode and owner that the file had.
  Result<void> apply(size_t index) const;

  // Everything is in place and shall stay.
  Result<void> commit();
  bool committed() const { return journal_.committed; }

  // Puts back what was there before, over whatever is there now.
  Result<void> restore(size_t index) const;
  // Removes the journal and the copies: there is nothing to take back any more.
  Result<void> forget() const;

 private:
  Transaction(std::string directory, Journal journal)
      : directory_(std::move(directory)), journal_(std::move(journal)) {}

  std::string copy_path(size_t index) const;
  std::string journal_path() const;
  Result<void> write_journal() const;
  Result<std::string> read_copy(size_t index) const;

  std::string directory_;
  Journal journal_;
};

// The transactions below ROOT/install, oldest first, under a lock that one process can hold.
class Transactions {
 public:
  // kConflict when another install or uninstall is at work.
  static Result<Transactions> open(const std::string& root);

  Result<std::vector<Transaction>> all() const;
  Result<Transaction> begin(const std::vector<FileChange>& changes) const;
  // Removes ROOT/install when there is no transaction and no uninstall that has to go on
  // ("retired").
  void remove_if_empty() const;

 private:
  Transactions(std::string directory, UniqueFd lock)
      : directory_(std::move(directory)), lock_(std::move(lock)) {}
  Result<std::vector<std::string>> names() const;

  std::string directory_;
  UniqueFd lock_;
};

}  // namespace runnel::install
