// How work is begun beside what its caller does, with std::async.
#pragma once

#include <future>

namespace runnel {

// Where no thread can be made, whoever asks for the result does the work.
inline constexpr auto kThreadIfThereIsOne = std::launch::async | std::launch::deferred;

}  // namespace runnel
