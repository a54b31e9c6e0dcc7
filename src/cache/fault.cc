#include "cache/fault.h"

#include <atomic>

namespace runnel::cache {

namespace {

std::function<int(std::string_view)> hook;  // NOLINT: written only while `armed` is false
std::atomic<bool> armed = false;

}  // namespace

int fault(std::string_view point) {
  return armed.load(std::memory_order_acquire) ? hook(point) : 0;
}

void set_faults(std::function<int(std::string_view point)> faults) {
  armed.store(false, std::memory_order_release);
  hook = std::move(faults);
  armed.store(hook != nullptr, std::memory_order_release);
}

}  // namespace runnel::cache
