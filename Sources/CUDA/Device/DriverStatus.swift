/// What a status of the driver means for the person in front of it. Numbers are CUresult's, fixed since they were introduced.
struct DriverStatus {
    let value: Int32

    init(_ value: Int32) { self.value = value }

    var isSuccess: Bool { value == 0 }
    var isNotReady: Bool { value == 600 }
    var isOutOfMemory: Bool { value == 2 }

    var code: CUDAError.Code {
        switch value {
        case 2: .outOfMemory
        case 34: .libraryMissing
        case 36, 222, 803: .driverTooOld
        case 46, 100, 101, 802: .noDevice
        case 1, 400: .invalidArgument
        case 701, 720, 912: .launchRefused
        case 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721: .kernelFault
        default: .call
        }
    }

    /// What to do, as a sentence; nil where the driver's own text has to do.
    var advice: String? {
        switch value {
        case 2: "Use a smaller batch or a shorter context, or close other programs on this GPU."
        case 34:
            "The libcuda that was found is the toolkit's stub; install the driver's own, or take the stubs folder out of LD_LIBRARY_PATH."
        case 36, 222: "Install a newer NVIDIA driver."
        case 46: "Another process holds the GPU in exclusive mode; see nvidia-smi -q -d COMPUTE."
        case 100: "No NVIDIA GPU is visible; check nvidia-smi and CUDA_VISIBLE_DEVICES, or run with --device cpu."
        case 101: "Ask for a GPU that nvidia-smi lists."
        case 200, 209:
            "The kernel was compiled for another GPU or by an NVRTC newer than the driver; update the driver, or name an older NVRTC in APUS_NVRTC."
        case 214, 220: "The GPU reported a hardware error; reset or replace it."
        case 700, 714, 715, 716, 717, 718, 719:
            "The GPU context is lost and the process must be started again. APUS_CUDA_SYNCHRONOUS=1 names the kernel; compute-sanitizer finds the access."
        case 702: "A kernel ran longer than the display driver allows."
        case 710: "A device-side assertion failed; the process must be started again."
        case 802: "The GPU is not ready yet; on servers with NVSwitch start nvidia-fabricmanager."
        case 803: "The kernel module and libcuda are of different versions; reboot, or reinstall the driver."
        case 804: "The forward-compatibility libcuda does not support this GPU; take it out of LD_LIBRARY_PATH."
        case 900...908: "A call inside a stream capture is not allowed there; allocate, synchronise and copy pageable memory outside it."
        case 999: "The driver gave no reason; see the kernel log (dmesg), and check that /dev/nvidia* is readable."
        default: nil
        }
    }
}
