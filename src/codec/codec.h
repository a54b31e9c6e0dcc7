// codec/ turns bytes into other bytes by somebody else's well-known rule: SHA-256, zstd frames for
// chunks, and the decoder that opens an image layer, whatever it is compressed with.
//
// It does not hold: anything that knows what the bytes mean (tar, artifact) or that touches a file
// or a socket. It is the only place that includes the headers of ISA-L, zstd and OpenSSL's EVP
// digests, and it keeps them in its .cc files.
//
// Every object belongs to one thread at a time; the free functions may be called from any thread.
#pragma once

#include "codec/layer_decoder.h"  // IWYU pragma: export
#include "codec/sha256.h"         // IWYU pragma: export
#include "codec/zstd.h"           // IWYU pragma: export
