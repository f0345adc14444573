// Memory of the `guarded` backend, which shows without a GPU where host code takes an address of
// the device for its own, or the other way round. A reservation has two ranges: the addresses that
// `reserve` gives, where any access is a fault, and the memory, which only this backend's copies
// and kernels know. Its streams are FIFO threads with random delays. GuardedDeviceFunctions() is in
// core/device/backend.h.
#pragma once

#include <cstdint>
#include <string_view>

namespace blockstep {

// Whose address it is, for messages: "adamw: m".
struct AddressUse {
  std::string_view op, operand;
};

// Where the memory of `bytes` bytes at `address` lies, which one live reservation must hold:
// anything else is a failed CHECK that names the use. Null stays null. From any thread.
void* GuardedMemory(const void* address, int64_t bytes, const AddressUse& use);

}  // namespace blockstep
