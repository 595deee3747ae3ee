function* f() { using a = g(), b = h
for (const c of /[/]/g) `${a}${`${b}`}` }
export default class extends f({}) {}
