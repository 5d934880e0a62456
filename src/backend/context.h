// OpContext: what every op needs to run: the device, its threads or stream, and scratch memory.
// Passed by reference through layers and models; owned by the DeviceExecutor.
//
// Conventions of all ops: activations are F32 and time-major ([rows, features]); weights are F32 or
// BF16 in Hugging Face's layout ([out_features, in_features]); indices and lengths are I32. Outputs
// are given by the caller and may not overlap inputs unless an op says so. Wrong shapes or dtypes
// are programmer errors (TUTTI_CHECK): configs and checkpoints are validated before.
//
// Batch invariance: a row of an output depends on its own inputs alone and is summed in one fixed
// order, whatever the number of rows, threads or neighbours. Sampling, chunked prefill, prefix
// caching and streaming vocoders rely on it bit by bit.
#pragma once

#include "tensor/tensor.h"
#include "tensor/workspace.h"

namespace tutti {

class ThreadPool;  // backend/cpu/thread_pool.h
class LoraRows;    // ops/lora.h

struct OpContext {
  Device device;
  Workspace& workspace;
  ThreadPool* pool = nullptr;  // CPU
  void* stream = nullptr;      // CUDA
  // Which rows of the step go through an adapter; null: none do.
  const LoraRows* lora = nullptr;
};

}  // namespace tutti
