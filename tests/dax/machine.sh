# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# machine.sh - a virtual machine with persistent memory: made from Debian packages, started, killed.
#
# The guest is a Debian kernel and an initramfs of busybox and a dozen modules. It mounts this
# machine's root over 9p, read-only, and changes root into it: what it runs are the host's own
# programs and this build. Nothing is emulated by KVM (nested virtualisation hangs on many hosts).
#
# Persistent memory is a file each; what the guest has stored is there for the next machine, however
# this one ended:
#
#   nvdimm 0     for fsdax: /dev/pmem0
#   nvdimm 1     for device DAX: /dev/dax1.0
#   virtio-pmem  a filesystem with DAX but without MAP_SYNC on top: not persistent memory to libpmem
#
# The directory OUT is shared, writable, as /dev/out in the guest: both tell each other things by
# files there.

# Labels take 128 KiB of an nvdimm; the rest must be a multiple of what the kernel hot-plugs.
FSDAX_BYTES=$((640 * 1024 * 1024 + 128 * 1024))
DEVDAX_BYTES=$((384 * 1024 * 1024 + 128 * 1024))
VIRTIO_BYTES=$((128 * 1024 * 1024))

# In the order in which they are loaded; their dependencies come along.
MODULES=(9p 9pnet_virtio nfit nd_pmem virtio_pmem dax_pmem device_dax ext4 fuse crc32c_generic)

cannot() {
	echo "$*" >&2
	return 77
}

# ---- what it is made of ----------------------------------------------------------------------

# The newest kernel among the metapackages: long-term pins of /dev/dax want 6.12.
kernel_package() {
	local meta
	meta=$(apt-cache pkgnames linux-image- |
		grep -E '^linux-image-([0-9]+\.[0-9]+-)?amd64$' | sort -V | grep -E '[0-9]\.' |
		tail -n 1)
	apt-cache depends "${meta:-linux-image-amd64}" |
		sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1
}

# unpack PACKAGE DIR: the files of a package, not installed.
unpack() {
	local deb work
	work=$(mktemp -d "$CACHE/download.XXXXXX") || return
	if ! (cd "$work" && timeout 180 apt-get download -q "$1" >apt.log 2>&1); then
		tail -n 1 "$work/apt.log" >&2
		rm -rf "$work"
		return 1
	fi
	deb=$(find "$work" -name '*.deb')
	mkdir -p "$2"
	dpkg -x "$deb" "$2"
	rm -rf "$work"
}

need_qemu() {
	command -v qemu-system-x86_64 >/dev/null && return
	[ "$(id -u)" -eq 0 ] || {
		cannot "qemu-system-x86_64 is not installed, and only root can install it"
		return
	}
	echo "# installing qemu-system-x86"
	DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -o DPkg::Lock::Timeout=120 install -q -y \
		--no-install-recommends qemu-system-x86 </dev/null >"$CACHE/apt.log" 2>&1 ||
		cannot "qemu-system-x86 cannot be installed: $(tail -n 1 "$CACHE/apt.log")"
}

# make_initramfs KERNEL ROOT: writes $CACHE/rd.gz from the unpacked kernel and the one of tools.
make_initramfs() {
	local kernel=$1 busybox=$2/bin/busybox rd=$CACHE/rd version
	version=$(basename "$kernel"/lib/modules/*)
	rm -rf "$rd"
	mkdir -p "$rd"/{bin,sbin,dev,proc,sys,host} "$rd/lib/modules/$version" || return
	cp "$busybox" "$rd/bin/busybox" && ln -s busybox "$rd/bin/sh" || return
	ln -s ../bin/busybox "$rd/sbin/modprobe"
	cp -r "$kernel/lib/modules/$version"/{kernel,modules.builtin,modules.order} \
		"$rd/lib/modules/$version/" || return
	keep_modules "$rd" "$version" || return
	find "$rd" -name '*.ko.xz' -exec "$busybox" unxz {} + || return
	"$busybox" depmod -b "$rd" "$version" || return
	cp "$HERE/init" "$rd/init" && chmod 755 "$rd/init" || return
	printf '%s\n' "${MODULES[@]}" >"$rd/modules"
	(cd "$rd" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1 >"$CACHE/rd.gz.new") ||
		return
	rm -rf "$rd"
	mv "$CACHE/rd.gz.new" "$CACHE/rd.gz"
}

# keep_modules RD VERSION: of the folders that MODULES and what they need stand in.
keep_modules() {
	local top=$1/lib/modules/$2/kernel keep
	keep='fs/(9p|ext4|jbd2|fuse|netfs|mbcache)|net/9p/9pnet(_virtio)?\.|lib/(crc|libcrc)'
	keep+='|drivers/(acpi/nfit|nvdimm|dax)/|crypto/crc|arch/x86/crypto/crc'
	(cd "$top" && find . -type f | grep -Ev "^\./($keep)" | xargs rm -f)
}

# machine_prepare: fills the cache; 77 with its reason when that cannot be done here.
machine_prepare() {
	local package root=$CACHE/root kernel=$CACHE/kernel what
	[ "$(uname -m)" = x86_64 ] || {
		cannot "for x86-64 alone"
		return
	}
	mkdir -p "$CACHE"
	if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
		cannot "needs apt-get and dpkg, and Debian's kernel packages"
		return
	fi
	need_qemu || return
	for what in busybox-static ndctl libiniparser1 libtraceevent1 libtracefs1 libcxl1; do
		[ ! -e "$root/.$what" ] || continue
		unpack "$what" "$root" || {
			cannot "the package $what cannot be downloaded"
			return
		}
		touch "$root/.$what"
	done
	# A kernel that is there is taken: which one is newest changes from week to week.
	if [ ! -e "$CACHE/vmlinuz" ]; then
		package=$(kernel_package)
		[ -n "$package" ] || {
			cannot "no package of a Debian kernel is known here"
			return
		}
		echo "# unpacking $package"
		rm -rf "$kernel"
		unpack "$package" "$kernel" || {
			cannot "the package $package cannot be downloaded"
			return
		}
		cp "$kernel"/boot/vmlinuz-* "$CACHE/vmlinuz.new" &&
			mv "$CACHE/vmlinuz.new" "$CACHE/vmlinuz" || return 1
		rm -f "$CACHE/rd.gz"
	fi
	if [ ! "$CACHE/rd.gz" -nt "$HERE/init" ] || [ ! "$CACHE/rd.gz" -nt "$HERE/machine.sh" ]; then
		make_initramfs "$kernel" "$root" || {
			echo "the initramfs cannot be made" >&2
			return 1
		}
	fi
}

# ---- running ---------------------------------------------------------------------------------

# machine_memory DIR: new persistent memory there, of zeroes.
machine_memory() {
	truncate -s "$FSDAX_BYTES" "$1/fsdax.img" &&
		truncate -s "$DEVDAX_BYTES" "$1/devdax.img" &&
		truncate -s "$VIRTIO_BYTES" "$1/virtio.img"
}

# machine_start DIR OUT LIMIT_S COMMAND: boots; the shell script COMMAND runs in the guest, as root.
# MACHINE is the process. What the guest's console says goes to OUT/console.
machine_start() {
	local dir=$1 out=$2 limit_s=$3 share=security_model=none,multidevs=remap
	printf '%s\n' "$4" >"$out/command"
	timeout --kill-after=5 "$limit_s" qemu-system-x86_64 -machine q35,nvdimm=on -accel tcg \
		-cpu max -smp 2 -m 2G,slots=4,maxmem=8G \
		-object "memory-backend-file,id=m0,share=on,mem-path=$dir/fsdax.img,size=$FSDAX_BYTES" \
		-device nvdimm,memdev=m0,id=nv0,label-size=128K \
		-object "memory-backend-file,id=m1,share=on,mem-path=$dir/devdax.img,size=$DEVDAX_BYTES" \
		-device nvdimm,memdev=m1,id=nv1,label-size=128K \
		-object "memory-backend-file,id=m2,share=on,mem-path=$dir/virtio.img,size=$VIRTIO_BYTES" \
		-device virtio-pmem-pci,memdev=m2,id=nv2 \
		-kernel "$CACHE/vmlinuz" -initrd "$CACHE/rd.gz" \
		-append "console=ttyS0 quiet panic=-1" \
		-virtfs "local,path=/,mount_tag=host,readonly=on,$share" \
		-virtfs "local,path=$out,mount_tag=out,$share" \
		-device isa-debug-exit,iobase=0xf4,iosize=4 \
		-nographic -nodefaults -serial stdio -no-reboot </dev/null >"$out/console" 2>&1 &
	MACHINE=$!
}

# machine_wait: 0 when the guest's command ended with status 0 and the machine by itself.
machine_wait() {
	local status=0
	wait "$MACHINE" || status=$?
	MACHINE=
	# The guest writes n to the port, qemu ends with 2n + 1.
	[ "$status" -eq 1 ]
}

# machine_kill: as if the power went.
machine_kill() {
	local child
	child=$(pgrep -P "$MACHINE") # timeout's
	kill -KILL "$child" 2>/dev/null
	wait "$MACHINE" 2>/dev/null
	MACHINE=
}
