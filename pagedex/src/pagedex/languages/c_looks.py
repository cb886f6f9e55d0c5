"""What a reviewer looks for in C, C++ and CUDA."""

from __future__ import annotations

from pagedex.languages.looks import ANYWHERE, Look, Looks

_SECURITY = Looks(
    Look("security", "commands",
         r"system|popen|_popen|exec[lv][pe]*|execvpe|posix_spawnp?|ShellExecute\w*|CreateProcess\w*",
         "runs a command"),
    Look("security", "unbounded copies", "strcpy|strcat|stpcpy|wcscpy|wcscat|gets|sprintf|vsprintf|strncpy|strncat",
         "copies a string"),
    Look("security", "raw memory", "memcpy|memmove|memset|alloca|realloc|bcopy",
         "moves memory of a size that was worked out"),
    Look("security", "scanned input", "[fsv]?scanf|vs?f?scanf|ato[ifl]l?",
         "reads a number or string without checking it"),
    Look("security", "formats", "printf|fprintf|syslog|v[fsn]*printf", "format that isn't a literal",
         where=r"\b(?:printf|vprintf)\s*\(\s*[A-Za-z_]|\b(?:fprintf|vfprintf|syslog)\s*\([^,]*,\s*[A-Za-z_]"),
    Look("security", "asserts as checks", "assert", "assert: not there with NDEBUG"),
    Look("security", "loaded code", r"dlopen|dlsym|LoadLibrary\w*|GetProcAddress", "loads code at run time"),
    Look("security", "weak random numbers", "rand|srand|random|drand48", "random numbers that can be foretold"),
    Look("security", "temporary files", "tmpnam|tempnam|mktemp|tmpfile", "name of a temporary file"),
    Look("security", "environment", "getenv|secure_getenv|setenv|putenv", "reads or sets the environment"),
    Look("security", "sockets", "socket|bind|listen|accept|connect|recv|recvfrom|getaddrinfo", "network"),
    Look("security", "rights", "set[re]*[ug]id|chmod|chown|fchmod|chroot", "changes rights"),
)  # fmt: skip

_CASTS = Looks(
    Look("security", "casts", "reinterpret_cast|const_cast", "cast that the compiler doesn't check", where=ANYWHERE),
)  # fmt: skip

_PERFORMANCE = Looks(
    Look("performance", "threads", r"pthread_\w+|thrd_\w+|fork|vfork", "threads or processes"),
    Look("performance", "locks", r"pthread_mutex_\w+|pthread_rwlock_\w+|mtx_\w+|sem_(?:wait|post|init)", "lock"),
    Look("performance", "atomics", r"atomic_\w+|__atomic_\w+|__sync_\w+|_Atomic|_Interlocked\w+", "atomic operation",
         where=ANYWHERE),
    Look("performance", "SIMD", r"_mm\d*_\w+|__m(?:64|128|256|512)[id]?|v[a-z]+q?_[fsup]\d+|(?:u?int|float|"
         r"poly)\d+x\d+(?:x\d)?_t|sv\w+_[fsu]\d+_[xzm]", "SIMD", where=ANYWHERE),
    Look("performance", "allocation", "malloc|calloc|realloc|aligned_alloc|posix_memalign|mmap", "allocates memory"),
    Look("performance", "file access",
         "fopen|fread|fwrite|open|openat|pread|pwrite|readv|writev|fseek|fsync|fdatasync|sendfile|"
         r"copy_file_range|io_uring_\w+", "reads or writes files"),
    Look("performance", "OpenMP", r"omp_\w+", "OpenMP"),
    Look("performance", "prefetch and branches",
         "__builtin_(?:prefetch|expect|assume_aligned|unreachable)|_mm_prefetch", "hint to the compiler or CPU"),
)  # fmt: skip

_PERFORMANCE_CPP = Looks(
    Look("performance", "threads", "thread|jthread|async|packaged_task|parallel_for|promise|future", "threads",
         where=r"\b(?:std|at)::(?:thread|jthread|async|packaged_task|parallel_for|promise|future)\b"),
    Look("performance", "locks",
         "mutex|recursive_mutex|shared_mutex|timed_mutex|lock_guard|unique_lock|scoped_lock|shared_lock|"
         r"condition_variable\w*|call_once|counting_semaphore|latch|barrier", "lock", where=r"\bstd::"),
    Look("performance", "atomics", r"atomic|atomic_ref|atomic_flag|atomic_thread_fence|memory_order_\w+",
         "atomic operation", where=ANYWHERE),
    Look("performance", "allocation", "new|make_unique|make_shared|allocate_shared", "allocates memory",
         where=r"\bnew\s+[\w:]|\bnew\s*\(|\bmake_(?:unique|shared)|\ballocate_shared"),
    Look("performance", "file access", "[io]?fstream|filesystem", "reads or writes files",
         where=r"\bstd::(?:[io]?fstream|filesystem)\b"),
    Look("performance", "coroutines", "co_await|co_yield|co_return", "coroutine", where=ANYWHERE),
)  # fmt: skip

_PATTERNS = Looks(
    Look("patterns", "owned resources",
         "unique_ptr|shared_ptr|weak_ptr|intrusive_ptr|lock_guard|scoped_lock|unique_lock",
         "resource freed by its owner", where=ANYWHERE),
    Look("patterns", "static polymorphism", "enable_if|enable_if_t|void_t|is_same_v|is_base_of_v|requires|concept",
         "chosen when compiled", where=ANYWHERE),
    Look("patterns", "visitors", "visit|variant", "variant and its visitors", where=r"\bstd::(?:visit|variant)\b"),
)  # fmt: skip

_CUDA = Looks(
    Look("performance", "kernels", "__global__", "CUDA kernel", where=ANYWHERE),
    Look("performance", "shared memory", "__shared__|__syncthreads|__syncwarp", "memory or barrier of a block",
         where=ANYWHERE),
    Look("performance", "streams", r"cuda(?:Stream|Event|Graph)\w+", "stream, event or graph", where=ANYWHERE),
    Look("performance", "copies between host and device", r"cudaMem(?:cpy|set|Prefetch)\w*",
         "copy between host and device"),
    Look("performance", "device memory", r"cuda(?:Malloc|Free|HostAlloc|HostRegister)\w*", "device or pinned memory"),
    Look("performance", "waits for the device", "cuda(?:Device|Stream|Event)Synchronize", "waits for the device"),
    Look("performance", "warp operations", r"__(?:shfl|ballot|any|all|match|reduce)\w*_sync", "operation of a warp"),
    Look("performance", "device atomics", r"atomic(?:Add|Sub|Exch|Min|Max|Inc|Dec|CAS|And|Or|Xor)\w*",
         "atomic operation on the device"),
)  # fmt: skip

C_LOOKS = _SECURITY + _PERFORMANCE
CPP_LOOKS = _SECURITY + _CASTS + _PERFORMANCE + _PERFORMANCE_CPP + _CUDA + _PATTERNS
