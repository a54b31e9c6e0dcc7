#include "net/transfer_report.h"

#include <atomic>
#include <utility>

namespace runnel::net {

namespace {

std::atomic<TransferObserver*> the_observer = nullptr;
thread_local TransferScope::Words words;

}  // namespace

void observe_transfers(TransferObserver* observer) {
  the_observer = observer;
}

TransferObserver* transfer_observer() {
  return the_observer;
}

TransferScope::TransferScope(std::string about, const char* purpose)
    : before_(std::exchange(words, {.about = std::move(about), .purpose = purpose})) {}

TransferScope::~TransferScope() {
  words = std::move(before_);
}

const TransferScope::Words& TransferScope::current() {
  return words;
}

}  // namespace runnel::net
