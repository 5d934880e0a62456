// Workspace: scratch memory of one device for the tensors of one step, handed out by moving a mark.
//
// Thread: one at a time (the step that runs on the device). Invariants: after the first steps of
// the largest shape it allocates nothing; memory of a Scope is handed out again when it ends.
#pragma once

#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace tutti {

class Workspace {
 public:
  using Allocate = std::shared_ptr<Storage> (*)(size_t bytes);
  explicit Workspace(Allocate allocate = allocate_host) : allocate_(allocate) {}

  // Uninitialised, 64-byte aligned.
  Tensor tensor(Shape shape, DType dtype = DType::kF32);

  // Everything handed out since its construction is free again at its end.
  class Scope {
   public:
    explicit Scope(Workspace& workspace)
        : workspace_(workspace), block_(workspace.block_), used_(workspace.used_) {}
    ~Scope() { workspace_.rewind(block_, used_); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Workspace& workspace_;
    size_t block_;
    size_t used_;
  };

  // Makes sure that `bytes` fit without a further allocation.
  void reserve(size_t bytes);
  // Largest number of bytes in use at once so far.
  size_t high_water_bytes() const { return high_water_; }

 private:
  void rewind(size_t block, size_t used);
  void merge_blocks();

  Allocate allocate_;
  std::vector<std::shared_ptr<Storage>> blocks_;
  size_t block_ = 0;  // index of the block in use
  size_t used_ = 0;   // bytes used of it
  size_t high_water_ = 0;
};

}  // namespace tutti
