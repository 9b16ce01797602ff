/* A plugin of QEMU's software emulation that counts what a guest executes.
 *
 * Arguments: device=NAME, the region of memory whose first read is noted; entry=ADDRESS, the first instruction that
 * counts; low=ADDRESS and high=ADDRESS, a stack whose deepest store is noted. At QEMU's end it writes a line of JSON to
 * stderr: instructions from the entry to the read and to the end, and bytes of stack.
 *
 * Debian's QEMU comes without qemu-plugin.h: what is used of version 1 of the interface is declared here. */

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t plugin_id;
struct tb;
struct insn;
struct hwaddr;

enum { INLINE_ADD_U64 = 0 };
enum { NO_REGISTERS = 0 };
enum { READS = 1, WRITES = 2 };

size_t qemu_plugin_tb_n_insns(const struct tb *);
struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
void qemu_plugin_register_vcpu_insn_exec_inline(struct insn *, int, void *, uint64_t);
void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *, void (*)(unsigned, void *), int, void *);
void qemu_plugin_register_vcpu_mem_cb(struct insn *, void (*)(unsigned, uint32_t, uint64_t, void *), int, int, void *);
struct hwaddr *qemu_plugin_get_hwaddr(uint32_t, uint64_t);
bool qemu_plugin_hwaddr_is_io(const struct hwaddr *);
const char *qemu_plugin_hwaddr_device_name(const struct hwaddr *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);

EXPORT int qemu_plugin_version = 1;

static uint64_t executed, at_entry, at_read;
static uint64_t entry, low, high, deepest;
static const char *device = "";

static void entered(unsigned cpu, void *data)
{
    if (at_entry == 0)
        at_entry = executed;
}

static void read_from(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    if (at_read != 0 || at_entry == 0)
        return;
    struct hwaddr *place = qemu_plugin_get_hwaddr(info, address);
    if (place && qemu_plugin_hwaddr_is_io(place) && strcmp(qemu_plugin_hwaddr_device_name(place), device) == 0)
        at_read = executed;
}

static void written(unsigned cpu, uint32_t info, uint64_t address, void *data)
{
    if (address >= low && address < high && address < deepest)
        deepest = address;
}

static void translate(plugin_id id, struct tb *block)
{
    for (size_t n = 0; n < qemu_plugin_tb_n_insns(block); n++) {
        struct insn *insn = qemu_plugin_tb_get_insn(block, n);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &executed, 1);
        if (qemu_plugin_insn_vaddr(insn) == entry)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, entered, NO_REGISTERS, NULL);
        qemu_plugin_register_vcpu_mem_cb(insn, read_from, NO_REGISTERS, READS, NULL);
        qemu_plugin_register_vcpu_mem_cb(insn, written, NO_REGISTERS, WRITES, NULL);
    }
}

static void end(plugin_id id, void *data)
{
    fprintf(stderr, "{\"to_read\":%" PRIu64 ",\"to_end\":%" PRIu64 ",\"stack\":%" PRIu64 "}\n",
            at_read ? at_read - at_entry : 0, executed - at_entry, high - deepest);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments)
{
    for (int n = 0; n < count; n++) {
        char *value = strchr(arguments[n], '=');
        if (!value)
            return -1;
        *value++ = 0;
        if (strcmp(arguments[n], "device") == 0)
            device = strdup(value);
        else if (strcmp(arguments[n], "entry") == 0)
            entry = strtoull(value, NULL, 0);
        else if (strcmp(arguments[n], "low") == 0)
            low = strtoull(value, NULL, 0);
        else if (strcmp(arguments[n], "high") == 0)
            high = strtoull(value, NULL, 0);
        else
            return -1;
    }
    deepest = high;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
