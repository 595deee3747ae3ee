export const { a, b: [c = 1], ...d } = e, f = () => {}
export async function* g() {}
export default {a: 1}
//# sourceMappingURL=data:x
