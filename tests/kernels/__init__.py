"""Real kernels: Debian's own, booted in virtual machines, each asked the same questions.

`python -m kernels` (with tests/ on the path), or `nox -s kernels`. What runs inside a machine is
in `kernels.guest`; it runs on the kernel at hand as well, without a machine.

    __main__   the session: which kernels, one after the other, the verdict, the table
    debian     finds, downloads and unpacks kernels, by this machine's own apt
    initramfs  packs Python, the wheel and the guest's modules into the file a kernel starts from
    machine    boots a kernel in qemu and hands back its console
    outcome    judges a console: fine, wrong, panic, hang, silent, or never booted
    table      writes docs/kernels.md
"""
