#include "CKernels.h"

// Every file of Kernels/ goes into the binary through #embed, which belongs to C23 and which clang also takes as an extension of older C.
// The list is kept by hand: a test compares it with the folder.
#pragma clang diagnostic ignored "-Wc23-extensions"

#define BEGIN(path) {path, (const unsigned char[]){
#define END 0}},

static const apus_kernel_file files[] = {
    BEGIN("Benchmark/Clock.cu")
#embed "../../Kernels/Benchmark/Clock.cu" suffix(, )
    END
    BEGIN("Benchmark/ExchangeRate.cu")
#embed "../../Kernels/Benchmark/ExchangeRate.cu" suffix(, )
    END
    BEGIN("Benchmark/GraphStepAttention.cuh")
#embed "../../Kernels/Benchmark/GraphStepAttention.cuh" suffix(, )
    END
    BEGIN("Benchmark/GraphStepHopper.cu")
#embed "../../Kernels/Benchmark/GraphStepHopper.cu" suffix(, )
    END
    BEGIN("Benchmark/GraphStepVector.cuh")
#embed "../../Kernels/Benchmark/GraphStepVector.cuh" suffix(, )
    END
    BEGIN("Benchmark/GraphStepWeights.cuh")
#embed "../../Kernels/Benchmark/GraphStepWeights.cuh" suffix(, )
    END
    BEGIN("Benchmark/ReadRate.cu")
#embed "../../Kernels/Benchmark/ReadRate.cu" suffix(, )
    END
    BEGIN("Common/Barrier.cuh")
#embed "../../Kernels/Common/Barrier.cuh" suffix(, )
    END
    BEGIN("Common/Exchange.cuh")
#embed "../../Kernels/Common/Exchange.cuh" suffix(, )
    END
    BEGIN("Common/Float8.cuh")
#embed "../../Kernels/Common/Float8.cuh" suffix(, )
    END
    BEGIN("Common/GemmHopperEpilogue.cuh")
#embed "../../Kernels/Common/GemmHopperEpilogue.cuh" suffix(, )
    END
    BEGIN("Common/Loads.cuh")
#embed "../../Kernels/Common/Loads.cuh" suffix(, )
    END
    BEGIN("Common/Math.cuh")
#embed "../../Kernels/Common/Math.cuh" suffix(, )
    END
    BEGIN("Common/TensorCopy.cuh")
#embed "../../Kernels/Common/TensorCopy.cuh" suffix(, )
    END
    BEGIN("Common/Types.cuh")
#embed "../../Kernels/Common/Types.cuh" suffix(, )
    END
    BEGIN("Common/Vector.cuh")
#embed "../../Kernels/Common/Vector.cuh" suffix(, )
    END
    BEGIN("Common/WarpMMA.cuh")
#embed "../../Kernels/Common/WarpMMA.cuh" suffix(, )
    END
    BEGIN("Common/WarpgroupMMA.cuh")
#embed "../../Kernels/Common/WarpgroupMMA.cuh" suffix(, )
    END
    BEGIN("Decode/Attention.cuh")
#embed "../../Kernels/Decode/Attention.cuh" suffix(, )
    END
    BEGIN("Decode/CacheCodes.cuh")
#embed "../../Kernels/Decode/CacheCodes.cuh" suffix(, )
    END
    BEGIN("Decode/CacheTile.cuh")
#embed "../../Kernels/Decode/CacheTile.cuh" suffix(, )
    END
    BEGIN("Decode/Megakernel.cu")
#embed "../../Kernels/Decode/Megakernel.cu" suffix(, )
    END
    BEGIN("Decode/Pack.cu")
#embed "../../Kernels/Decode/Pack.cu" suffix(, )
    END
    BEGIN("Decode/Pairs.cuh")
#embed "../../Kernels/Decode/Pairs.cuh" suffix(, )
    END
    BEGIN("Decode/Products.cuh")
#embed "../../Kernels/Decode/Products.cuh" suffix(, )
    END
    BEGIN("Decode/Residual.cuh")
#embed "../../Kernels/Decode/Residual.cuh" suffix(, )
    END
    BEGIN("Decode/Sampling.cuh")
#embed "../../Kernels/Decode/Sampling.cuh" suffix(, )
    END
    BEGIN("Decode/Shape.cuh")
#embed "../../Kernels/Decode/Shape.cuh" suffix(, )
    END
    BEGIN("Decode/Span.cuh")
#embed "../../Kernels/Decode/Span.cuh" suffix(, )
    END
    BEGIN("Decode/Speculation.cuh")
#embed "../../Kernels/Decode/Speculation.cuh" suffix(, )
    END
    BEGIN("Decode/SpeculationAttention.cuh")
#embed "../../Kernels/Decode/SpeculationAttention.cuh" suffix(, )
    END
    BEGIN("Decode/SpeculationProducts.cuh")
#embed "../../Kernels/Decode/SpeculationProducts.cuh" suffix(, )
    END
    BEGIN("Decode/SpeculationResidual.cuh")
#embed "../../Kernels/Decode/SpeculationResidual.cuh" suffix(, )
    END
    BEGIN("Decode/SpeculationState.cuh")
#embed "../../Kernels/Decode/SpeculationState.cuh" suffix(, )
    END
    BEGIN("Decode/Stage.cuh")
#embed "../../Kernels/Decode/Stage.cuh" suffix(, )
    END
    BEGIN("Decode/State.cuh")
#embed "../../Kernels/Decode/State.cuh" suffix(, )
    END
    BEGIN("Operators/AttentionGeneric.cu")
#embed "../../Kernels/Operators/AttentionGeneric.cu" suffix(, )
    END
    BEGIN("Operators/AttentionHopper.cu")
#embed "../../Kernels/Operators/AttentionHopper.cu" suffix(, )
    END
    BEGIN("Operators/GemmFloat.cu")
#embed "../../Kernels/Operators/GemmFloat.cu" suffix(, )
    END
    BEGIN("Operators/GemmGeneric.cu")
#embed "../../Kernels/Operators/GemmGeneric.cu" suffix(, )
    END
    BEGIN("Operators/GemmHopper.cu")
#embed "../../Kernels/Operators/GemmHopper.cu" suffix(, )
    END
    BEGIN("Operators/Quantize.cu")
#embed "../../Kernels/Operators/Quantize.cu" suffix(, )
    END
    BEGIN("Operators/RMSNormRoPE.cu")
#embed "../../Kernels/Operators/RMSNormRoPE.cu" suffix(, )
    END
    BEGIN("Operators/SoftmaxTopK.cu")
#embed "../../Kernels/Operators/SoftmaxTopK.cu" suffix(, )
    END
    BEGIN("Prefill/CacheCodes.cu")
#embed "../../Kernels/Prefill/CacheCodes.cu" suffix(, )
    END
    BEGIN("Prefill/LayerConsumer.cuh")
#embed "../../Kernels/Prefill/LayerConsumer.cuh" suffix(, )
    END
    BEGIN("Prefill/LayerHopper.cu")
#embed "../../Kernels/Prefill/LayerHopper.cu" suffix(, )
    END
    BEGIN("Prefill/LayerMover.cuh")
#embed "../../Kernels/Prefill/LayerMover.cuh" suffix(, )
    END
    BEGIN("Prefill/LayerShape.cuh")
#embed "../../Kernels/Prefill/LayerShape.cuh" suffix(, )
    END
    BEGIN("Prefill/LayerStaging.cuh")
#embed "../../Kernels/Prefill/LayerStaging.cuh" suffix(, )
    END
    BEGIN("Prefill/Rows.cu")
#embed "../../Kernels/Prefill/Rows.cu" suffix(, )
    END
    {NULL, NULL},
};

apus_kernel_file apus_kernel_file_at(size_t index) {
    // The last row is empty, so that the table is valid C even without a file.
    if (index + 1 >= sizeof files / sizeof *files) return (apus_kernel_file){NULL, NULL};
    return files[index];
}
