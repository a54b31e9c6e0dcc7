// Takes several transactions back as one: each file becomes what it was before the first of them,
// without the steps between.
//
// Somebody may have edited a file after any of them, and the next one may have written on top of
// that. Such a content is told from one that nobody would miss by where it comes from: what was
// there before the first transaction is known, and so is what a transaction made of what is known.
// All else has an edit in it.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "base/error.h"
#include "install/transaction.h"

namespace runnel::install {

// kConflict, with a sentence, when a file's present content has an edit in it.
Result<void> check_unedited(std::span<const Transaction> oldest_first);

// Restores every file byte for byte and removes the journals. A file with an edit in it is saved
// beside its place first with `force` (see save_beside); without, nothing at all is touched, as by
// check_unedited(). Can be repeated after a crash: the journals go last. `say` hears of each file.
Result<void> roll_back(
    std::span<const Transaction> oldest_first, bool force,
    const std::function<void(const std::string&)>& say = [](const std::string&) {});

}  // namespace runnel::install
